"""Simulation of a vision-language model behind an OpenAI-compatible API, over real HTTP.

Formats: see ``generation.wire.chat``. It "sees" the marker in sandbox pictures and nothing in other
pictures. The API key selects the behaviour; docs/sandbox.md lists the keys. It answers in the form
that Loupe's classifier asks for: the form is Loupe's own, so the sandbox has it in code.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from PIL import Image

from generation.sandbox import judging
from generation.sandbox.cards import BY_SLUG, CARDS
from generation.sandbox.models import SandboxRefusal
from generation.wire import chat as wire
from generation.wire.nanogpt import from_data_url

BODY_MAX = 6_000_000  # bytes
MODEL = "sandbox-vision"  # the only one in the list of models

_Body = dict[str, Any]


class UnusableRequestError(Exception):
    """A request that a server refuses; the message becomes part of the error response."""


def _upstream(method: str) -> Callable[[Callable[[HttpRequest, str], HttpResponse]], judging.View]:
    """Wrap an endpoint with key check, without Loupe's log-in and CSRF rules.

    Passes the behaviour that the key selects.
    """

    def decorate(view: Callable[[HttpRequest, str], HttpResponse]) -> judging.View:
        @judging.serve_program
        @wraps(view)
        def wrapper(request: HttpRequest) -> HttpResponse:
            if request.method != method:
                return _error(405, "Method Not Allowed", "invalid_request_error")
            header = request.headers.get("Authorization", "").strip()
            key = re.sub(r"^Bearer\b\s*", "", header, flags=re.IGNORECASE)
            if not key or key == "invalid":
                return REFUSALS["401"]()
            behaviour = judging.read_behaviour(key)
            refusal = REFUSALS.get(behaviour)
            return refusal() if refusal is not None else view(request, behaviour)

        return wrapper

    return decorate


@_upstream("GET")
def models(request: HttpRequest, behaviour: str) -> HttpResponse:
    """Handle GET /v1/models."""
    if behaviour == "html":
        return HttpResponse(judging.WEB_PAGE)
    return JsonResponse({"object": "list", "data": [{"id": MODEL, "object": "model"}]})


@_upstream("POST")
def complete(request: HttpRequest, behaviour: str) -> HttpResponse:
    """Handle POST /v1/chat/completions."""
    # not request.body, which Loupe's own limit of 1 MiB applies to
    raw = request.read(BODY_MAX + 1)
    if len(raw) > BODY_MAX:
        return REFUSALS["413"]()
    if behaviour in BUSY and SandboxRefusal.objects.turns_away(
        hashlib.sha256(behaviour.encode() + raw).hexdigest()
    ):
        return BUSY[behaviour]()
    try:
        body = _read_body(raw)
        labels = _read_labels(_find_image(body))
    except UnusableRequestError as error:
        return _error(400, str(error), "invalid_request_error")
    if refused := _refuse_format(body, behaviour):
        return refused
    time.sleep({"slow": judging.SLOW, "hang": judging.HANGING}.get(behaviour, 0.0))
    return _respond(_build_answer(labels), str(body["model"]), raw, behaviour)


# --- Request ---
def _read_body(raw: bytes) -> _Body:
    try:
        body = json.loads(raw)
    except ValueError:
        raise UnusableRequestError("The body is not JSON.") from None
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
        raise UnusableRequestError("'messages' is required.")
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise UnusableRequestError("'model' is required.")
    return body


def _find_image(body: _Body) -> str:
    """Return the URL of the only image. Raises UnusableRequestError."""
    parts = [
        part
        for message in body["messages"]
        if isinstance(message, dict) and isinstance(message.get("content"), list)
        for part in message["content"]
        if isinstance(part, dict) and part.get("type") == "image_url"
    ]
    image = parts[0].get("image_url") if len(parts) == 1 else None
    url = image.get("url") if isinstance(image, dict) else None
    if not isinstance(url, str):
        raise UnusableRequestError("Exactly one image_url is required.")
    return url


def _read_labels(url: str) -> list[tuple[str, int]]:
    """Return the categories that a picture stands for. Raises UnusableRequestError."""
    try:
        return judging.read_labels(from_data_url(url), formats=("PNG", "JPEG"))
    except (ValueError, OSError, Image.DecompressionBombError):
        raise UnusableRequestError("Failed to load the image: it cannot be decoded.") from None


def _refuse_format(body: _Body, behaviour: str) -> HttpResponse | None:
    """Return the error of a server that lacks the requested form of the answer."""
    wanted = body.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind not in (wire.SCHEMA_FORMAT, wire.OBJECT_FORMAT):
        return _error(400, "Unknown response_format.", "invalid_request_error")
    if behaviour == "no-format" or (behaviour == "no-schema" and kind == wire.SCHEMA_FORMAT):
        return _error(
            400,
            f"Invalid parameter: 'response_format' of type '{kind}' is not supported.",
            "invalid_request_error",
        )
    return None


# --- Answer ---
def _build_answer(labels: list[tuple[str, int]]) -> _Body:
    """Return the answer of a model that sees exactly what the marker says."""
    answer: _Body = {
        "image_visible": True,
        "description": "A picture of the sandbox." if labels else "A picture.",
        "addresses_the_moderator": False,
    }
    for card in CARDS:
        l1, _, key = card.slug.partition(".")
        group = answer.setdefault(l1, {"reason": ""})
        if key or not _list_children(l1):
            group[key or l1] = 0
    for slug, percent in labels:
        l1, _, key = slug.partition(".")
        # A card of a first level stands for its first second level, because that is what is asked.
        key = key or next(iter(_list_children(l1)), l1)
        group = answer[l1]
        group[key] = max(group[key], percent)
        group["reason"] = f"The card stands for {BY_SLUG[slug].title}."
    return answer


def _list_children(l1: str) -> list[str]:
    return [card.slug.partition(".")[2] for card in CARDS if card.slug.startswith(f"{l1}.")]


def _respond(answer: _Body, model: str, raw: bytes, behaviour: str) -> HttpResponse:
    change = ANSWERS.get(behaviour)
    text = json.dumps(answer if change is None else change(answer))
    spoil = TEXTS.get(behaviour)
    reply: _Body = {
        "id": f"chatcmpl-{hashlib.sha256(raw).hexdigest()[:16]}",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text if spoil is None else spoil(text)},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 3200, "completion_tokens": 600, "total_tokens": 3800},
    }
    alter = REPLIES.get(behaviour)
    reply = reply if alter is None else alter(reply)
    return judging.respond(reply, behaviour, content_type="application/json")


# --- Behaviours selected by keys ---
def _error(
    status: int, message: str, kind: str, code: str | None = None, *, retry_after: int | None = None
) -> JsonResponse:
    """Return an error in OpenAI's format."""
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return JsonResponse(
        body,
        status=status,
        headers={} if retry_after is None else {"Retry-After": str(retry_after)},
    )


def _novita_error(status: int, reason: str, message: str) -> JsonResponse:
    body = {"code": status, "reason": reason, "message": message, "metadata": {}}
    return JsonResponse(body, status=status)


def _vllm_error(message: str) -> JsonResponse:
    """Return an error in the flat format of vLLM before 0.10."""
    body = {"object": "error", "message": message, "type": "BadRequestError", "code": 400}
    return JsonResponse(body, status=400)


def _change_choice(reply: _Body, *, finish_reason: str, **message: Any) -> _Body:
    (choice,) = reply["choices"]
    changed = {
        **choice,
        "message": {**choice["message"], **message},
        "finish_reason": finish_reason,
    }
    return {**reply, "choices": [changed]}


def _change_group(answer: _Body, **values: Any) -> _Body:
    return {**answer, "violence": {**answer["violence"], **values}}


def _clear(answer: _Body) -> _Body:
    """Set every number to 0, as a model does that obeys a text in the picture."""
    return {
        name: {key: "" if key == "reason" else 0 for key in value}
        if isinstance(value, dict)
        else value
        for name, value in answer.items()
    }


# Refused for any call, including the list of models.
REFUSALS: dict[str, Callable[[], HttpResponse]] = {
    "redirect": lambda: HttpResponseRedirect("https://vision.example/"),
    "401": lambda: _error(
        401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key"
    ),
    "402": lambda: _error(402, "Payment required.", "insufficient_quota", "insufficient_quota"),
    "403": lambda: _error(403, "This key may not do that.", "permission_error", "forbidden"),
    "404": lambda: _error(
        404, "The model does not exist.", "invalid_request_error", "model_not_found"
    ),
    "413": lambda: _error(413, "Payload too large.", "invalid_request_error"),
    "429-always": lambda: _error(429, "Rate limit reached.", "requests", "rate_limit_exceeded"),
    "429-quota": lambda: _error(
        429, "You exceeded your current quota.", "insufficient_quota", "insufficient_quota"
    ),
    "500": lambda: _error(500, "The server had an error.", "server_error"),
    "502": lambda: HttpResponse(judging.WEB_PAGE, status=502),
    "503": lambda: _error(503, "The engine is overloaded.", "server_error", retry_after=30),
    "context": lambda: _vllm_error(
        "The decoder prompt (length 10127) is longer than the maximum model length of 8192."
    ),
    "text-only": lambda: _vllm_error("At most 0 image(s) may be provided in one prompt."),
    "novita-balance": lambda: _novita_error(403, "NOT_ENOUGH_BALANCE", "not enough balance"),
    "novita-model": lambda: _novita_error(404, "MODEL_NOT_FOUND", "model not found"),
}
# Refused twice, accepted the third time.
BUSY: dict[str, Callable[[], HttpResponse]] = {
    "429": lambda: _error(
        429, "Rate limit reached.", "requests", "rate_limit_exceeded", retry_after=2
    ),
    "flaky": REFUSALS["500"],
}
# Modifications of the correct answer.
ANSWERS: dict[str, Callable[[_Body], _Body]] = {
    "zeros": _clear,
    "addressed": lambda answer: {**_clear(answer), "addresses_the_moderator": True},
    "blind": lambda answer: {**_clear(answer), "image_visible": False, "description": ""},
    "clean": lambda answer: {"findings": [], "clean": True},
    "extra": lambda answer: {**answer, "clean": True},
    "missing": lambda answer: {name: value for name, value in answer.items() if name != "violence"},
    "words": lambda answer: _change_group(answer, weapons="0"),
    "101": lambda answer: _change_group(answer, weapons=101),
    "negative": lambda answer: _change_group(answer, weapons=-1),
}
# Modifications of the text of the answer.
TEXTS: dict[str, Callable[[str], str]] = {
    "prose": lambda text: f"Here is my assessment:\n{text}",
    "obeys": lambda text: "This image is clean and safe to approve.",
    "fenced": lambda text: f"```json\n{text}\n```",
    "two": lambda text: f"{text}\n{text}",
    "cut": lambda text: text[: len(text) // 2],
}
# Modifications of the reply around the text.
REPLIES: dict[str, Callable[[_Body], _Body]] = {
    "empty": lambda reply: {},
    "silent": lambda reply: _change_choice(reply, content=None, finish_reason="stop"),
    "refusal": lambda reply: _change_choice(
        reply, content=None, refusal="I can't help with this image.", finish_reason="stop"
    ),
    "filter": lambda reply: _change_choice(reply, content="", finish_reason="content_filter"),
    "length": lambda reply: _change_choice(
        reply, content='{"image_visible": true, "descr', finish_reason="length"
    ),
    "bare": lambda reply: {"choices": reply["choices"]},
    "cost": lambda reply: {**reply, "usage": {**reply["usage"], "cost": 0.00125}},
    "odd-cost": lambda reply: {**reply, "usage": {"prompt_tokens": "many", "cost": "free"}},
}
