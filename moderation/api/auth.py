"""Authentication, limits, errors and call log of the API.

The three wire formats differ in their error bodies: an error is an ApiError here, and each format's
module renders it. Only API keys in headers count; sessions are ignored.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation, TooManyFieldsSent
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from generation.core.log_context import get_request_id
from generation.core.outages import RETRY_AFTER, find_outage
from generation.models import ApiCall, ApiKey, ImagesOfDay, Scope

log = logging.getLogger("loupe.api")
KEY_INVALID = "This API key is unknown, expired or revoked, or its owner's account is inactive."
# Loupe's own extension: an opaque id, by which images can be found, held and erased.
END_USER_HEADER, END_USER_MAX = "X-Loupe-End-User", 200
FAILED = "Loupe failed on this call. It has been logged."
OUTAGE = "Loupe cannot reach its database or its queue. Send the call again in a few seconds."


class ApiErrorCode(StrEnum):
    """The reasons for which a call is refused."""

    KEY_MISSING = "key missing"
    KEY_INVALID = "key invalid"
    SCOPE_MISSING = "scope missing"
    TOO_OFTEN = "too often"
    IMAGES_SPENT = "images spent"
    METHOD = "method"
    BODY_TOO_LARGE = "body too large"
    BODY_INVALID = "body invalid"
    NOT_FOUND = "not found"
    CONFLICT = "conflict"
    IN_DOUBT = "in doubt"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


# Default HTTP statuses; a format may override them.
STATUS: dict[ApiErrorCode, int] = {
    ApiErrorCode.KEY_MISSING: 401,
    ApiErrorCode.KEY_INVALID: 401,
    ApiErrorCode.SCOPE_MISSING: 403,
    ApiErrorCode.TOO_OFTEN: 429,
    ApiErrorCode.IMAGES_SPENT: 429,
    ApiErrorCode.METHOD: 405,
    ApiErrorCode.BODY_TOO_LARGE: 413,
    ApiErrorCode.BODY_INVALID: 400,
    ApiErrorCode.NOT_FOUND: 404,
    ApiErrorCode.CONFLICT: 409,
    ApiErrorCode.IN_DOUBT: 422,
    ApiErrorCode.UNAVAILABLE: 503,
    ApiErrorCode.INTERNAL: 500,
}


class ApiError(Exception):
    """A refused call. ``str(error)`` is a message for the calling developer."""

    def __init__(self, code: ApiErrorCode, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after  # seconds
        self.call: Call | None = None  # the refused call, if its key is known


@dataclass(slots=True)
class Call:
    """A call in progress: its key and the number of images it requests."""

    request: HttpRequest
    key: ApiKey
    images: int = 0
    day: date | None = None  # the day on which the images are counted
    reason: str = ""
    started: float = field(default_factory=time.monotonic)

    def consume(self, images: int) -> None:
        """Count images against the key's daily limit. Raises ApiError if too few are left."""
        now = timezone.now()
        if not ImagesOfDay.take_images(self.key, now.date(), images):
            limit = self.key.images_per_day or 0
            left = max(0, limit - ImagesOfDay.get_count(self.key, now.date()))
            midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
            wait = int((midnight - now).total_seconds()) + 1
            message = f"This key has {left} of its {limit} images left today (UTC)."
            raise ApiError(ApiErrorCode.IMAGES_SPENT, message, retry_after=wait)
        self.images, self.day = images, now.date()

    def refund(self) -> None:
        """Uncount the images of a failed call."""
        if self.day is not None and self.images:
            ImagesOfDay.refund_images(self.key, self.day, self.images)
        self.images = 0


ErrorRenderer = Callable[[ApiError], HttpResponse]
ApiView = Callable[..., HttpResponse]


def endpoint(
    *, scope: Scope, methods: tuple[str, ...], refuse: ErrorRenderer, body_max: int = 1024 * 1024
) -> Callable[[Callable[..., HttpResponse]], ApiView]:
    """Turn a function ``(call, …) -> HttpResponse`` into a view.

    ``refuse`` renders an ApiError in the wire format. Every error inside the view is returned in
    that format, never as a page, and is logged without the body.
    """

    def decorate(view: Callable[..., HttpResponse]) -> ApiView:
        @csrf_exempt
        @login_not_required
        @functools.wraps(view)
        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            call: Call | None = None
            try:
                call = _authenticate_call(request, scope=scope, methods=methods, body_max=body_max)
                response = view(call, *args, **kwargs)
            except ApiError as error:
                response = _render_refusal(error, refuse, call)
            except (SuspiciousOperation, UnreadablePostError) as error:
                response = _render_refusal(_describe_unreadable(error, body_max), refuse, call)
            except Exception as error:
                log.exception("%s %s failed", request.method, request.path)
                response = _render_refusal(_describe_failure(error), refuse, call)
            if call is not None:
                _log_call(call, response)
            if response.status_code == 405:
                response["Allow"] = ", ".join(methods)
            elif response.status_code == 401:
                response["WWW-Authenticate"] = 'Bearer realm="Loupe"'
            return response

        # For refusals before the view runs (config/overload.py).
        vars(answer)["refuse"] = refuse
        return answer

    return decorate


def extract_api_key(request: HttpRequest) -> str:
    """Return the API key of a request; "" without one.

    Reads ``Authorization`` (Bearer, raw, or the user name of Basic), then ``x-api-key``.
    """
    header = request.headers.get("Authorization", "").strip()
    kind, _, rest = header.partition(" ")
    if kind.lower() == "bearer":
        return rest.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return header or request.headers.get("x-api-key", "").strip()


def read_end_user(request: HttpRequest) -> str:
    """Return the end user for whom a program sends a call; "" without one. Raises ApiError."""
    end_user = request.headers.get(END_USER_HEADER, "").strip()
    if len(end_user) > END_USER_MAX or not (end_user.isascii() and end_user.isprintable()):
        message = f"{END_USER_HEADER} must have at most {END_USER_MAX} printable ASCII characters."
        raise ApiError(ApiErrorCode.BODY_INVALID, message)
    return end_user


def read_json(request: HttpRequest, *, body_max: int | None = None) -> Any:
    """Parse the body as JSON.

    Raises ApiError for invalid UTF-8, NaN, deep nesting, numbers that are too long, duplicate names
    (parsers disagree on which one counts), NUL and lone surrogates (no database column can store
    them). ``body_max`` replaces DATA_UPLOAD_MAX_MEMORY_SIZE for routes that accept larger bodies.
    """
    if "chunked" in request.headers.get("Transfer-Encoding", "").lower():
        message = (
            "The body came in chunks, which this server cannot read. Send a Content-Length header"
            " with it."
        )
        raise ApiError(ApiErrorCode.BODY_INVALID, message)
    try:
        text = (request.body if body_max is None else _read_body(request, body_max)).decode()
        value = json.loads(
            text, parse_constant=_reject_constant, object_pairs_hook=_reject_duplicates
        )
    except (ValueError, RecursionError):
        raise ApiError(ApiErrorCode.BODY_INVALID, "The body is not valid JSON.") from None
    if "\\u0000" in text or "\0" in text:
        raise ApiError(
            ApiErrorCode.BODY_INVALID, "The body contains a NUL character, which is not allowed."
        )
    if _LONE_SURROGATE.search(text) and _has_lone_surrogate(value):
        message = (
            "The body contains an unpaired surrogate (\\ud800 to \\udfff), which is "
            "not a character."
        )
        raise ApiError(ApiErrorCode.BODY_INVALID, message)
    return value


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object from its members. Raises ApiError for duplicate names."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        message = f"The body names {twice[:40]!r} twice in one object. Send each name once."
        raise ApiError(ApiErrorCode.BODY_INVALID, message)
    return found


# Matches escapes that may be half of a pair. Pairs are common, so the parsed value decides.
_LONE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def _has_lone_surrogate(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        return True
    return False


def _describe_unreadable(error: Exception, body_max: int) -> ApiError:
    """Build the ApiError for a request that Django refuses to read.

    Django's own messages reveal our settings.
    """
    if isinstance(error, RequestDataTooBig):
        return _body_too_large(body_max)
    if isinstance(error, TooManyFieldsSent):
        fields_max = settings.DATA_UPLOAD_MAX_NUMBER_FIELDS
        message = f"The URL has more than {fields_max} query parameters. Send fewer."
        return ApiError(ApiErrorCode.BODY_INVALID, message)
    return ApiError(ApiErrorCode.BODY_INVALID, "The request could not be read to its end.")


def _read_body(request: HttpRequest, body_max: int) -> bytes:
    body = request.read(body_max + 1)
    if len(body) > body_max:
        raise _body_too_large(body_max)
    return body


def _body_too_large(body_max: int) -> ApiError:
    return ApiError(
        ApiErrorCode.BODY_TOO_LARGE, f"The body may have at most {body_max // 1024} KiB."
    )


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def json_response(body: Any, *, status: int = 200, retry_after: int | None = None) -> JsonResponse:
    response = JsonResponse(
        body, status=status, safe=False, json_dumps_params={"ensure_ascii": False}
    )
    if retry_after is not None:
        response["Retry-After"] = str(retry_after)
    return response


def _authenticate_call(
    request: HttpRequest, *, scope: Scope, methods: tuple[str, ...], body_max: int
) -> Call:
    text = extract_api_key(request)
    if not text:
        raise ApiError(ApiErrorCode.KEY_MISSING, "Send an API key in the Authorization header.")
    key = ApiKey.objects.authenticate(text)
    if key is None:
        raise ApiError(ApiErrorCode.KEY_INVALID, KEY_INVALID)
    call = Call(request=request, key=key)
    try:
        _check_limits(call, scope=scope, methods=methods, body_max=body_max)
    except ApiError as error:
        # Callers with a valid key see refused calls in their list too: `endpoint` logs them.
        call.reason = error.code
        error.call = call
        raise
    return call


def _check_limits(call: Call, *, scope: Scope, methods: tuple[str, ...], body_max: int) -> None:
    request, key = call.request, call.key
    if not key.take_call(timezone.now()):
        message = f"This API key is limited to {key.calls_per_minute} calls a minute."
        raise ApiError(
            ApiErrorCode.TOO_OFTEN, message, retry_after=key.seconds_to_wait(timezone.now())
        )
    if request.method not in methods:
        raise ApiError(ApiErrorCode.METHOD, f"Use {' or '.join(methods)} here.")
    if not key.has_scope(scope):
        raise ApiError(ApiErrorCode.SCOPE_MISSING, f"This API key lacks the scope {scope}.")
    length = request.headers.get("Content-Length", "0") or "0"
    if not length.isdecimal() or len(length) > 12 or int(length) > body_max:
        raise _body_too_large(body_max)


def _describe_failure(error: Exception) -> ApiError:
    if find_outage(error) is not None:
        return ApiError(ApiErrorCode.UNAVAILABLE, OUTAGE, retry_after=RETRY_AFTER)
    return ApiError(ApiErrorCode.INTERNAL, f"{FAILED} Request id: {get_request_id()}.")


@contextmanager
def _optional_write(call: Call) -> Iterator[None]:
    """Keep the response if counting the call fails: its work is committed already."""
    try:
        yield
    except DatabaseError:
        log.exception("%s %s was answered but not counted", call.request.method, call.request.path)


def _render_refusal(error: ApiError, refuse: ErrorRenderer, call: Call | None) -> HttpResponse:
    response = refuse(error)
    if error.retry_after is not None:
        response["Retry-After"] = str(error.retry_after)
    known = call or error.call
    if known is not None:
        known.reason = str(error)[:120]
        with _optional_write(known):
            known.refund()
        if call is None:
            _log_call(known, response)
    return response


def _log_call(call: Call, response: HttpResponse) -> None:
    with _optional_write(call):
        _store_call(call, response)


def _store_call(call: Call, response: HttpResponse) -> None:
    now = timezone.now()
    ApiCall.objects.create(
        key=call.key,
        method=(call.request.method or "")[:7],
        path=call.request.path.replace("\0", "")[:200],  # PostgreSQL cannot store NUL
        status=response.status_code,
        reason=call.reason,
        images=call.images,
        duration_ms=round(1000 * (time.monotonic() - call.started)),
        created_at=now,
    )
    # At most one write per minute: it only shows whether a key is still in use.
    if call.key.last_used_at is None or now - call.key.last_used_at > timedelta(minutes=1):
        ApiKey.objects.filter(pk=call.key.pk).update(last_used_at=now)
