"""Simulation of OpenAI's moderation endpoint over real HTTP.

It classifies by the marker in sandbox pictures, and finds nothing in texts. The API key selects the
behaviour; docs/sandbox.md lists them.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from PIL import Image
from pydantic import ValidationError

from generation.sandbox import judging
from generation.sandbox.models import SandboxRefusal
from generation.wire import openai as wire
from generation.wire.nanogpt import from_data_url

BODY_MAX = wire.DATA_URL_MAX + 10_000  # bytes
MODEL = "omni-moderation-2024-09-26"
FLAGGED_FROM = 0.5
# Score of a category that was looked for and not found. Real scores of such images differ from 0
# too.
NOTHING = 0.0000123
# Category slugs that sandbox pictures stand for; "violence/graphic" implies "violence".
NAMES = {
    "explicit": ("sexual",),
    "explicit.nudity": ("sexual",),
    "explicit.sexual-activity": ("sexual",),
    "explicit.sex-toys": ("sexual",),
    "violence": ("violence",),
    "violence.weapons": ("violence",),
    "violence.graphic": ("violence", "violence/graphic"),
}
CATEGORIES = sorted((*wire.IMAGE_CATEGORIES, *wire.TEXT_CATEGORIES))


class RefusedError(Exception):
    """A call that is refused; the message becomes part of the error response."""

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


@judging.serve_program
def moderate(request: HttpRequest) -> HttpResponse:
    """Handle POST /v1/moderations."""
    key = re.sub(r"^Bearer\b\s*", "", request.headers.get("Authorization", "").strip())
    if request.method != "POST":
        return _error(405, "Method not allowed.", "invalid_request_error")
    if not key or key == "invalid":
        return REFUSALS["401"]()
    behaviour = judging.read_behaviour(key)
    if behaviour in REFUSALS:
        return REFUSALS[behaviour]()
    # not request.body, which Loupe's own limit of 1 MiB applies to
    raw = request.read(BODY_MAX + 1)
    try:
        results = _judge(raw)
    except RefusedError as error:
        return _error(400, str(error), "invalid_request_error", error.code)
    digest = hashlib.sha256(behaviour.encode() + raw).hexdigest()
    if behaviour in BUSY and SandboxRefusal.objects.turns_away(digest):
        return BUSY[behaviour]()
    time.sleep({"slow": judging.SLOW, "hang": judging.HANGING}.get(behaviour, 0.0))
    body: dict[str, Any] = {
        "id": f"modr-{hashlib.sha256(raw).hexdigest()[:24]}",
        "model": MODEL,
        "results": [result.to_wire() for result in results],
    }
    change = CHANGED.get(behaviour)
    return judging.respond(
        change(body) if change else body, behaviour, content_type="application/json"
    )


def _judge(raw: bytes) -> list[wire.Result]:
    """Return one result per text, or one for all parts together. Raises RefusedError."""
    if len(raw) > BODY_MAX:
        raise RefusedError("Image is too large.", "image_too_large")
    try:
        parts = wire.ModerationRequest.model_validate_json(raw).input
    except ValidationError:
        raise RefusedError("Invalid 'input'.") from None
    if isinstance(parts, str):
        return [_build_result([], {wire.TEXT})]
    images = [part for part in parts if isinstance(part, wire.ImagePart)]
    if len(images) > 1:
        raise RefusedError("Too many images. At most 1 image is allowed.", wire.TOO_MANY_IMAGES)
    if not parts:
        raise RefusedError("Invalid 'input': an empty array.")
    if all(isinstance(part, str) for part in parts):
        return [_build_result([], {wire.TEXT}) for _ in parts]
    kinds = {wire.TEXT} if len(images) < len(parts) else set()
    kinds |= {wire.IMAGE} if images else set()
    return [_build_result(_read_labels(images[0]) if images else [], kinds)]


def _read_labels(part: wire.ImagePart) -> list[tuple[str, int]]:
    """Read the marker. Raises RefusedError."""
    try:
        return judging.read_labels(from_data_url(part.image_url.url))
    except (ValueError, OSError, Image.DecompressionBombError):
        raise RefusedError("Invalid image.", "invalid_image") from None


def _build_result(labels: list[tuple[str, int]], kinds: set[str]) -> wire.Result:
    """Build a result; categories that are not applied to the input have a score of 0."""
    applied = {
        name: sorted(kinds if name in wire.IMAGE_CATEGORIES else kinds & {wire.TEXT})
        for name in CATEGORIES
    }
    scores = {name: NOTHING if kinds_of else 0.0 for name, kinds_of in applied.items()}
    for slug, percent in labels:
        for name in NAMES.get(slug, ()):
            scores[name] = max(scores[name], percent / 100)
    flags = {name: score >= FLAGGED_FROM for name, score in scores.items()}
    return wire.Result(
        flagged=any(flags.values()),
        categories=flags,
        category_scores=scores,
        category_applied_input_types=applied,
    )


# --- Behaviours selected by keys ---
def _error(
    status: int,
    message: str,
    kind: str,
    code: str | None = None,
    *,
    retry_after: int | None = None,
) -> HttpResponse:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return JsonResponse(body, status=status, headers=headers)


# Refused for any call.
REFUSALS: dict[str, Callable[[], HttpResponse]] = {
    "redirect": lambda: HttpResponseRedirect("https://openai.example/"),
    "401": lambda: _error(
        401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key"
    ),
    "403": lambda: _error(
        403,
        "Country, region, or territory not supported",
        "request_forbidden",
        "unsupported_country_region_territory",
    ),
    "404": lambda: _error(
        404,
        "The model `omni-moderation-latest` does not exist or you do not have access to it.",
        "invalid_request_error",
        "model_not_found",
    ),
    "quota": lambda: _error(
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        "insufficient_quota",
        "insufficient_quota",
    ),
    "too-many": lambda: _error(
        400,
        "Too many images. At most 1 image is allowed.",
        "invalid_request_error",
        wire.TOO_MANY_IMAGES,
    ),
    "429-always": lambda: _error(
        429, "Rate limit reached.", "requests", "rate_limit_exceeded", retry_after=2
    ),
    "500": lambda: _error(500, "The server had an error.", "server_error"),
    "502": lambda: HttpResponse(judging.WEB_PAGE, status=502),
    "503": lambda: _error(503, "The engine is overloaded.", "server_error", retry_after=30),
}
# Refused twice, accepted the third time.
BUSY: dict[str, Callable[[], HttpResponse]] = {
    "429": REFUSALS["429-always"],
    "flaky": REFUSALS["500"],
}


def _change_result(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a change of the result; each value is computed from the field's value."""

    def change(body: dict[str, Any]) -> dict[str, Any]:
        (result,) = body["results"]
        return body | {
            "results": [result | {name: make(result[name]) for name, make in changes.items()}]
        }

    return change


# Modifications of the correct response.
CHANGED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "empty": lambda body: {},
    "none": lambda body: body | {"results": []},
    "two": lambda body: body | {"results": body["results"] * 2},
    "zeros": _change_result(category_scores=lambda scores: dict.fromkeys(scores, 0)),
    "above": _change_result(category_scores=lambda scores: dict.fromkeys(scores, 1.01)),
    "words": _change_result(category_scores=lambda scores: dict.fromkeys(scores, "low")),
    "scoreless": _change_result(category_scores=lambda scores: {}),
    "unapplied": _change_result(category_applied_input_types=lambda types: {}),
    "text-only": _change_result(
        category_applied_input_types=lambda types: {name: ["text"] for name in types}
    ),
    "sexual-only": _change_result(
        category_applied_input_types=lambda types: types | {"violence": [], "violence/graphic": []}
    ),
    "contradiction": _change_result(
        flagged=lambda flagged: False,
        categories=lambda categories: dict.fromkeys(categories, True),
    ),
}
