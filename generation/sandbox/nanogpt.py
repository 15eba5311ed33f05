"""Simulation of nano-gpt over real HTTP: NSFW image classification and balance.

Pages: see ``generation.wire.nanogpt``. It classifies by the marker in sandbox pictures and flags no
other picture. A classification contains no prompt, so the API key selects the behaviour;
docs/sandbox.md lists the keys.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.utils import timezone
from PIL import Image
from pydantic import ValidationError

from generation import fetching
from generation.sandbox import judging
from generation.sandbox.cards import BY_SLUG
from generation.sandbox.models import SandboxRefusal
from generation.wire import nanogpt as wire

BODY_MAX = 4_500_000  # bytes
FLAGGED_FROM = 50  # percent
FETCH_SECONDS = 15.0  # for all URLs of a call together


class UnusableImageError(Exception):
    """An image that cannot be classified; the message becomes part of the error response."""


def _upstream(view: Callable[[HttpRequest, str], HttpResponse]) -> judging.View:
    """Wrap a POST endpoint with key check; pass the behaviour that the key selects."""

    @judging.serve_program
    @wraps(view)
    def wrapper(request: HttpRequest) -> HttpResponse:
        if request.method != "POST":
            return _error(405, "Method not allowed")
        bearer = re.sub(
            r"^Bearer\b\s*",
            "",
            request.headers.get("Authorization", "").strip(),
            flags=re.IGNORECASE,
        )
        key = request.headers.get("x-api-key", "").strip() or bearer
        if not key or key == "invalid":
            return _error(401, "Unauthorized")
        behaviour = judging.read_behaviour(key)
        refusal = REFUSALS.get(behaviour)
        return refusal() if refusal is not None else view(request, behaviour)

    return wrapper


@_upstream
def classify(request: HttpRequest, behaviour: str) -> HttpResponse:
    """Handle POST /api/nsfw/image."""
    # not request.body, which Loupe's own limit of 1 MiB applies to
    raw = request.read(BODY_MAX + 1)
    if len(raw) > BODY_MAX:
        return _error(413, "Payload too large")
    if behaviour in BUSY and SandboxRefusal.objects.turns_away(
        hashlib.sha256(behaviour.encode() + raw).hexdigest()
    ):
        return BUSY[behaviour]()
    try:
        images = wire.NsfwRequest.model_validate_json(raw).images
    except ValidationError:
        return _error(400, "Invalid request body")
    if not images:
        return _error(400, "No valid image URLs provided")
    if behaviour == "413" and len(images) > 1:
        return _error(413, "Payload too large")
    try:
        verdicts = _classify_images(images[: wire.IMAGES_MAX])
    except UnusableImageError as error:
        return _error(400, str(error))
    if behaviour in POLICY and any(verdicts):
        return POLICY[behaviour]()
    time.sleep({"slow": judging.SLOW, "hang": judging.HANGING}.get(behaviour, 0.0))
    reply = wire.NsfwReply.of(
        verdicts,
        request_id=f"sandbox-{hashlib.sha256(raw).hexdigest()[:16]}",
        price=wire.IMAGE_PRICE,
        truncated=len(images) > wire.IMAGES_MAX,
    )
    return _respond(reply.to_wire(), behaviour)


@_upstream
def balance(request: HttpRequest, behaviour: str) -> HttpResponse:
    """Handle POST /api/check-balance."""
    if behaviour == "html":
        return HttpResponse(judging.WEB_PAGE)
    return JsonResponse(
        {"usd_balance": "12.34567890", "nano_balance": "0.5", "nanoDepositAddress": "nano_sandbox"}
    )


# --- Classification ---
def _classify_images(images: list[str]) -> list[bool]:
    """Return one verdict per image, in order.

    Inferred: one unreadable image fails the whole call. Raises UnusableImageError.
    """
    deadline = time.monotonic() + FETCH_SECONDS

    def flagged(numbered: tuple[int, str]) -> bool:
        number, image = numbered
        try:
            return _is_flagged(_load_content(image, deadline))
        except (
            ValueError,
            OSError,
            Image.DecompressionBombError,
            fetching.BlockedAddressError,
            fetching.FetchError,
        ):
            raise UnusableImageError(f"Image {number} could not be read") from None

    with ThreadPoolExecutor(4) as threads:
        return list(threads.map(flagged, enumerate(images, 1)))


def _load_content(image: str, deadline: float) -> bytes:
    if image[:5].lower() == "data:":
        return wire.from_data_url(image)
    left = max(deadline - time.monotonic(), 0.1)
    return fetching.fetch(image, allow=settings.CALLER_ALLOW, deadline=left).content


def _is_flagged(content: bytes) -> bool:
    """Return whether Novita's detection would report the image at any level.

    Raises ValueError, OSError.
    """
    labels = judging.read_labels(content)
    seen = [percent for slug, percent in labels if BY_SLUG[slug].novita_level is not None]
    return max(seen, default=0) >= FLAGGED_FROM


# --- Behaviours selected by keys ---
def _error(status: int, message: str, *, retry_after: int | None = None) -> JsonResponse:
    """Return an error in the endpoint's own format: the error is a string."""
    body = wire.ErrorReply(error=message).to_wire()
    return JsonResponse(
        body,
        status=status,
        headers={} if retry_after is None else {"Retry-After": str(retry_after)},
    )


def _error_object(
    status: int, message: str, kind: str, code: str, *, retry_after: int | None = None
) -> JsonResponse:
    """Return an error in the other format: the error is an object."""
    body = wire.ErrorReply(error=wire.ErrorDetail(message=message, type=kind, code=code)).to_wire()
    return JsonResponse(
        body,
        status=status,
        headers={} if retry_after is None else {"Retry-After": str(retry_after)},
    )


def _daily_limit_error() -> HttpResponse:
    now = timezone.now()
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    message = "Daily request limit exceeded (1000/1000). Resets at midnight UTC."
    # At least an hour, so that the result is the same just before midnight.
    wait = max(round((midnight - now).total_seconds()), 3600)
    return _error_object(
        429, message, "rate_limit_error", "daily_rpd_limit_exceeded", retry_after=wait
    )


# Refused for any call, including the balance.
REFUSALS: dict[str, Callable[[], HttpResponse]] = {
    "redirect": lambda: HttpResponseRedirect("https://nano-gpt.example/"),
    "401": lambda: _error(401, "Unauthorized"),
    "401-object": lambda: _error_object(
        401, "Invalid API key", "authentication_error", "invalid_api_key"
    ),
    "402": lambda: JsonResponse(
        wire.ErrorReply(
            error="Insufficient balance", status=402, requiredBalance=Decimal("0.0035")
        ).to_wire(),
        status=402,
    ),
    "402-object": lambda: _error_object(
        402, "Payment required.", "insufficient_quota", "insufficient_quota"
    ),
    "403": lambda: _error_object(
        403, "This key may not do that.", "permission_denied_error", "permission_denied"
    ),
    "404": lambda: HttpResponse(judging.WEB_PAGE, status=404),
    "413-always": lambda: _error(413, "Payload too large"),
    "429-always": lambda: _error(429, "Rate limit exceeded"),
    "429-daily": _daily_limit_error,
    "500": lambda: _error(500, "NSFW classification failed"),
    "502": lambda: HttpResponse(judging.WEB_PAGE, status=502),
    "503": lambda: _error_object(
        503, "Try again later.", "service_unavailable", "service_unavailable", retry_after=30
    ),
}
# Refused twice, accepted the third time.
BUSY: dict[str, Callable[[], HttpResponse]] = {
    "429": lambda: _error(429, "Rate limit exceeded", retry_after=2),
    "flaky": REFUSALS["500"],
}
# Refused if an image in the call would be flagged.
POLICY: dict[str, Callable[[], HttpResponse]] = {
    "policy": lambda: _error(
        400, "The request was rejected by our safety system: policy violation"
    ),
    "policy-object": lambda: _error_object(
        400, "Content blocked.", "invalid_request_error", wire.POLICY_CODE
    ),
}
# Modifications of the correct response.
_Body = dict[str, Any]
CHANGED: dict[str, Callable[[_Body], _Body]] = {
    "empty": lambda body: {},
    "short": lambda body: body | {"has_nsfw_concepts": body["has_nsfw_concepts"][:-1]},
    "long": lambda body: body | {"has_nsfw_concepts": [*body["has_nsfw_concepts"], False]},
    "miscounted": lambda body: body | {"inputCount": body["inputCount"] + 1},
    "truncated": lambda body: body | {"truncated": True},
    "words": lambda body: body | {"has_nsfw_concepts": ["no" for _ in body["has_nsfw_concepts"]]},
    "nulls": lambda body: body | {"has_nsfw_concepts": [None for _ in body["has_nsfw_concepts"]]},
    "contradiction": lambda body: body | {"is_nsfw": not body["is_nsfw"]},
    "bare": lambda body: {"has_nsfw_concepts": body["has_nsfw_concepts"]},
    "xno": lambda body: body | {"cost": 0.0017, "currency": "XNO"},
    "odd-cost": lambda body: body | {"cost": "free", "currency": 7},
}


def _respond(body: _Body, behaviour: str) -> HttpResponse:
    change = CHANGED.get(behaviour)
    return judging.respond(
        change(body) if change else body, behaviour, content_type="application/json"
    )
