"""Mapping of error responses to exceptions: first the provider's code, then the HTTP status.

Codes: https://novita.ai/docs/api-reference/basic-error-code,
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html with
https://docs.aws.amazon.com/rekognition/latest/dg/error-handling.html, and
https://platform.openai.com/docs/guides/error-codes. Any other 4xx is
ProviderRejectedError. Any 5xx is OutcomeUnknownError for a submission, because it may have been
accepted (CREATE_TASK_FAILED, BILLING_FAILED, …), and ProviderBusyError for a read
(GET_RESULT_FAILED, TASK_FAILED, …), which is retried.
"""

from __future__ import annotations

from generation.providers.base import (
    OutcomeUnknownError,
    ProviderBusyError,
    ProviderError,
    ProviderMisconfiguredError,
    ProviderRejectedError,
    TaskNotFoundError,
)

BY_REASON: dict[str, type[ProviderError]] = {
    "MISSING_API_KEY": ProviderMisconfiguredError,  # 400
    "INVALID_API_KEY": ProviderMisconfiguredError,  # 403
    "FAILED_TO_AUTH": ProviderMisconfiguredError,
    "BILLING_BALANCE_NOT_ENOUGH": ProviderMisconfiguredError,  # 400, in another revision 403
    "NOT_ENOUGH_BALANCE": ProviderMisconfiguredError,
    "BILLING_AUTH_FAILED": ProviderMisconfiguredError,
    "FEATURE_NOT_ALLOWED": ProviderMisconfiguredError,
    "API_NOT_ALLOWED": ProviderMisconfiguredError,
    "NEED_REAL_NAME_VERIFY": ProviderMisconfiguredError,
    "ANONYMOUS_ACCESS_QUOTA_EXCEEDS": ProviderMisconfiguredError,
    "API_NOT_FOUND": ProviderMisconfiguredError,
    "TASK_NOT_FOUND": TaskNotFoundError,
    "RATE_LIMIT_EXCEEDED": ProviderBusyError,
    # AWS, with 400 or 403
    "AccessDeniedException": ProviderMisconfiguredError,
    "UnrecognizedClientException": ProviderMisconfiguredError,
    "InvalidClientTokenId": ProviderMisconfiguredError,
    "InvalidSignatureException": ProviderMisconfiguredError,
    "SignatureDoesNotMatch": ProviderMisconfiguredError,
    "IncompleteSignatureException": ProviderMisconfiguredError,
    "MissingAuthenticationTokenException": ProviderMisconfiguredError,
    "ExpiredTokenException": ProviderMisconfiguredError,
    "OptInRequired": ProviderMisconfiguredError,
    "SubscriptionRequiredException": ProviderMisconfiguredError,
    "UnknownOperationException": ProviderMisconfiguredError,
    "ThrottlingException": ProviderBusyError,  # 400 or 500
    "ProvisionedThroughputExceededException": ProviderBusyError,
    "ResourceNotReadyException": ProviderBusyError,
    "InternalServerError": ProviderBusyError,  # 500
    # OpenAI
    "insufficient_quota": ProviderMisconfiguredError,  # 429
    "invalid_api_key": ProviderMisconfiguredError,
    "model_not_found": ProviderMisconfiguredError,
}
# Codes of a rate limit, whatever the status. 429 is one without a code.
LIMITING = ("ThrottlingException", "ProvisionedThroughputExceededException")
BY_STATUS: dict[int, type[ProviderError]] = {
    401: ProviderMisconfiguredError,
    402: ProviderMisconfiguredError,
    403: ProviderMisconfiguredError,
    404: ProviderMisconfiguredError,  # retired endpoint; an unknown task has its own code
    405: ProviderMisconfiguredError,
    408: ProviderBusyError,  # the server timed out before it had the whole request
    410: ProviderMisconfiguredError,
    429: ProviderBusyError,
}
MESSAGES: dict[type[ProviderError], str] = {
    ProviderBusyError: "{label} is busy and did not take the request",
    ProviderMisconfiguredError: (
        "{label} refused the request because of Loupe's own settings or account"
    ),
    TaskNotFoundError: "{label} no longer knows this task",
    ProviderRejectedError: "{label} refused the request",
    OutcomeUnknownError: "{label} failed while it handled the request, which it may have accepted",
}
# Explanations of the codes for people, shown beside the provider's own message.
_MEANINGS = {
    "MISSING_API_KEY": "the key is missing",
    "INVALID_API_KEY": "the key is wrong",
    "FAILED_TO_AUTH": "the key is wrong",
    "BILLING_BALANCE_NOT_ENOUGH": "the account has no balance left",
    "NOT_ENOUGH_BALANCE": "the account has no balance left",
    "BILLING_AUTH_FAILED": "the account's billing could not be authorised",
    "FEATURE_NOT_ALLOWED": "the account may not use this feature",
    "API_NOT_ALLOWED": "the account may not use this endpoint",
    "NEED_REAL_NAME_VERIFY": "the account's owner has to verify their name first",
    "ANONYMOUS_ACCESS_QUOTA_EXCEEDS": "the quota without an account is used up",
    "API_NOT_FOUND": "the endpoint is gone",
    "RATE_LIMIT_EXCEEDED": "its limit of images per minute is reached",
    "AccessDeniedException": "the access key has no permission for the operation",
    "UnrecognizedClientException": "AWS_ACCESS_KEY_ID or AWS_SESSION_TOKEN is wrong",
    "InvalidClientTokenId": "AWS_ACCESS_KEY_ID is wrong",
    "InvalidSignatureException": (
        "AWS_SECRET_ACCESS_KEY or AWS_REGION is wrong, or this machine's clock is"
    ),
    "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY is wrong",
    "IncompleteSignatureException": "the signature is incomplete",
    "MissingAuthenticationTokenException": "the signature is missing",
    "ExpiredTokenException": "AWS_SESSION_TOKEN has expired",
    "OptInRequired": "the account is not signed up for the service",
    "SubscriptionRequiredException": "the account is not signed up for the service",
    "UnknownOperationException": "the endpoint does not know the operation",
    "ThrottlingException": "its limit of calls per second is reached",
    "ProvisionedThroughputExceededException": "its limit of calls per second is reached",
    "ImageTooLargeException": "the image is too large",
    "InvalidImageFormatException": "the image's format is not one it takes",
    "InvalidParameterException": "a parameter is wrong",
    "insufficient_quota": "the account has no quota left",
    "invalid_api_key": "the key is wrong",
    "model_not_found": "the account may not use the model",
    "too_many_images": "it takes one image per call",
    "INVALID_REQUEST_BODY": "a parameter is wrong",
    "ILLEGAL_PROMPT": "its rules do not allow the prompt",
    "ILLEGAL_IMAGE_CONTENT": "its rules do not allow the image",
    "IMAGE_FILE_EXCEEDS_MAX_SIZE": "the image's file is too large",
    "INVALID_IMAGE_FORMAT": "the image's format is not one it takes",
    "IMAGE_EXCEEDS_MAX_RESOLUTION": "the image has too many pixels",
    "INVALID_IMAGE_SIZE": "the image's size is not one it takes",
    "IMAGE_NO_FACE_DETECTED": "no face was found in the image",
    "INVALID_CUSTOM_OUTPUT_PATH": "it cannot write to the custom storage",
    "BILLING_FAILED": "billing failed",
    "CREATE_TASK_FAILED": "the task could not be created",
    "GET_RESULT_FAILED": "the result could not be read",
    "TASK_FAILED": "the task failed",
}


def describe_error(
    kind: type[ProviderError], *, label: str, status: int, reason: str, raw_message: str
) -> str:
    """Return a message for people about an error response."""
    meaning = _MEANINGS.get(
        reason,
        "the endpoint is gone" if status == 404 and kind is ProviderMisconfiguredError else "",
    )
    about = f": {meaning}" if meaning else ""
    quoted = f" It said: {raw_message.rstrip('.')}" if raw_message else ""
    code = f"HTTP {status} {reason}".rstrip()
    return f"{MESSAGES[kind].format(label=label)}{about}.{quoted} ({code})."
