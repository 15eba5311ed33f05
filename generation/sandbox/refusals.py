"""Errors of Novita's table on request of a prompt.

``sandbox:error-illegal-prompt`` gives a 400 with ILLEGAL_PROMPT. Page:
https://novita.ai/docs/api-reference/basic-error-code.
"""

from __future__ import annotations

from generation.sandbox.cards import Steering

STATUSES = {
    "INVALID_REQUEST_BODY": 400,
    "ILLEGAL_PROMPT": 400,
    "ILLEGAL_IMAGE_CONTENT": 400,
    "IMAGE_FILE_EXCEEDS_MAX_SIZE": 400,
    "INVALID_IMAGE_FORMAT": 400,
    "IMAGE_EXCEEDS_MAX_RESOLUTION": 400,
    "INVALID_IMAGE_SIZE": 400,
    "IMAGE_NO_FACE_DETECTED": 400,
    "INVALID_CUSTOM_OUTPUT_PATH": 400,
    "BILLING_BALANCE_NOT_ENOUGH": 400,
    "MISSING_API_KEY": 400,
    "INVALID_API_KEY": 403,
    "BILLING_AUTH_FAILED": 403,
    "FEATURE_NOT_ALLOWED": 403,
    "API_NOT_ALLOWED": 403,
    "NEED_REAL_NAME_VERIFY": 403,
    "API_NOT_FOUND": 404,
    "TASK_NOT_FOUND": 404,
    "RATE_LIMIT_EXCEEDED": 429,
    "BILLING_FAILED": 500,
    "CREATE_TASK_FAILED": 500,
    "GET_RESULT_FAILED": 500,
    "TASK_FAILED": 500,
}
_WORDS = {f"error-{reason.lower().replace('_', '-')}": reason for reason in STATUSES}


def find_requested_error(steering: Steering) -> tuple[int, str] | None:
    """Return the status and reason that a prompt requests; None if there are none."""
    reason = next((_WORDS[word] for word in sorted(steering.behaviours) if word in _WORDS), "")
    return (STATUSES[reason], reason) if reason else None
