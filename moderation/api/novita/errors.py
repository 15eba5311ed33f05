"""Novita's error format: ``{code, reason, message, metadata}`` with Novita's own status codes.

Page: https://novita.ai/docs/api-reference/basic-error-code. Published clients read ``reason`` and
``message``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.http import HttpResponse

from generation.models import Scope
from moderation.api.auth import ApiError, ApiErrorCode, endpoint, json_response

# Novita answers 400 to a missing key and 403 to a wrong one. It documents no reason for the errors
# below the line.
MEANING: dict[ApiErrorCode, tuple[int, str]] = {
    ApiErrorCode.KEY_MISSING: (400, "MISSING_API_KEY"),
    ApiErrorCode.KEY_INVALID: (403, "INVALID_API_KEY"),
    ApiErrorCode.SCOPE_MISSING: (403, "API_NOT_ALLOWED"),
    ApiErrorCode.TOO_OFTEN: (429, "RATE_LIMIT_EXCEEDED"),
    ApiErrorCode.IMAGES_SPENT: (429, "RATE_LIMIT_EXCEEDED"),
    ApiErrorCode.BODY_INVALID: (400, "INVALID_REQUEST_BODY"),
    ApiErrorCode.NOT_FOUND: (404, "TASK_NOT_FOUND"),
    # ---
    ApiErrorCode.METHOD: (405, "METHOD_NOT_ALLOWED"),
    ApiErrorCode.BODY_TOO_LARGE: (413, "INVALID_REQUEST_BODY"),
    ApiErrorCode.CONFLICT: (422, "IDEMPOTENCY_KEY_REUSED"),
    ApiErrorCode.UNAVAILABLE: (503, "SERVICE_UNAVAILABLE"),
}


# Novita's own messages, from observed responses. Clients compare them.
WORDS: dict[ApiErrorCode, str] = {
    ApiErrorCode.KEY_MISSING: "missing api-key",
    ApiErrorCode.KEY_INVALID: "invalid api-key",
    ApiErrorCode.TOO_OFTEN: "rate limit exceeded, please try again later",
    ApiErrorCode.IMAGES_SPENT: "rate limit exceeded, please try again later",
}


class NovitaError(ApiError):
    """An error with a reason of its own at Novita."""

    def __init__(
        self,
        refusal: ApiErrorCode,
        message: str,
        *,
        reason: str,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(refusal, message)
        self.reason = reason
        self.metadata = metadata or {}


def body(
    status: int, reason: str, message: str, metadata: dict[str, Any] | None = None
) -> HttpResponse:
    content = {"code": status, "reason": reason, "message": message, "metadata": metadata or {}}
    return json_response(content, status=status)


def refuse(error: ApiError, *, failure: str) -> HttpResponse:
    """Return the error response, with Novita's own message where there is one.

    Our message is then in ``metadata``.
    """
    status, reason = MEANING.get(error.code, (500, failure))
    if isinstance(error, NovitaError):
        return body(status, error.reason, str(error), error.metadata)
    if words := WORDS.get(error.code):
        return body(status, reason, words, {"detail": str(error)})
    return body(status, reason, str(error))


def novita_endpoint(method: str, *, failure: str) -> Callable[[Callable[..., HttpResponse]], Any]:
    """Return a decorator for a view that needs a key with the scope ``generate``.

    ``failure`` is the reason in the response to an internal error.
    """
    made: Callable[[Callable[..., HttpResponse]], Any] = endpoint(
        scope=Scope.GENERATE, methods=(method,), refuse=partial(refuse, failure=failure)
    )
    return made
