"""``POST /api/nsfw/image``: classification in nano-gpt's format, by local classifiers at no cost.

Format: ``generation.wire.nanogpt``. Verdicts and failures:
``moderation.api.instant_classification``. Additions of Loupe: ``?review=true`` also puts the images
into the queue; the header ``X-Loupe-Classifiers`` names the classifiers, ``X-Loupe-Assets`` the
stored images in input order. Doubt is a 422, because the format knows only yes and no, and a retry
changes nothing. 503 is for images that may be judged later or with other classifiers.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from uuid import uuid4

from django.http import HttpResponse
from pydantic import ValidationError

from generation.core.storage import StorageUnavailableError
from generation.models import ApiKey, Asset, Scope, Source
from generation.services import storage_checks
from generation.services.storing import AlreadyStoredError, Origin, store_rendition
from generation.wire import nanogpt as wire
from moderation.api import instant_classification
from moderation.api.auth import (
    STATUS,
    ApiError,
    ApiErrorCode,
    Call,
    endpoint,
    json_response,
    read_end_user,
    read_json,
)

BODY_MAX = 30 * 1024 * 1024
ASSETS_HEADER, CLASSIFIERS_HEADER = "X-Loupe-Assets", "X-Loupe-Classifiers"
BUSY_SECONDS = 5
STORAGE_SECONDS = 60

# nano-gpt's own messages, with Loupe's message in DETAIL_HEADER; other errors use Loupe's message.
MESSAGES: dict[ApiErrorCode, str] = {
    ApiErrorCode.KEY_MISSING: "Unauthorized",
    ApiErrorCode.KEY_INVALID: "Unauthorized",
    ApiErrorCode.TOO_OFTEN: "Rate limit exceeded",
    ApiErrorCode.IMAGES_SPENT: "Daily request limit exceeded. Resets at midnight UTC.",
    ApiErrorCode.BODY_TOO_LARGE: "Payload too large",
    ApiErrorCode.INTERNAL: "NSFW classification failed",
}
DETAIL_HEADER = "X-Loupe-Detail"
NO_IMAGES = "No valid image URLs provided"
DAILY_CODE = "daily_rpd_limit_exceeded"


def render_error(error: ApiError) -> HttpResponse:
    """Render an ApiError.

    The page of this endpoint shows the error as a string. The daily limit is an object, as
    documented for all endpoints.
    """
    message = MESSAGES.get(error.code, str(error))
    reply = wire.ErrorReply(error=message)
    if error.code is ApiErrorCode.IMAGES_SPENT:
        reply = wire.ErrorReply(
            error=wire.ErrorDetail(message=message, type="rate_limit_error", code=DAILY_CODE)
        )
    response = json_response(reply.to_wire(), status=STATUS[error.code])
    if message != str(error):
        response[DETAIL_HEADER] = str(error)
    return response


@endpoint(scope=Scope.CLASSIFY, methods=("POST",), refuse=render_error, body_max=BODY_MAX)
def classify(call: Call) -> HttpResponse:
    review = _parse_flag(call.request.GET.getlist("review"))
    end_user = read_end_user(call.request)
    images = _parse_images(call)
    processed = images[: wire.IMAGES_MAX]
    if review:
        _check_storage()
    call.consume(len(processed))
    try:
        judged = instant_classification.judge(processed)
    except instant_classification.UnusableImageError as error:
        raise ApiError(ApiErrorCode.BODY_INVALID, str(error)) from None
    except instant_classification.BusyError as error:
        raise ApiError(ApiErrorCode.UNAVAILABLE, str(error), retry_after=BUSY_SECONDS) from None
    except instant_classification.NotJudgedError as error:
        raise ApiError(ApiErrorCode.UNAVAILABLE, str(error)) from None
    doubts = _find_doubt(judged)
    if doubts and not review:
        raise doubts
    stored = (
        ", ".join(str(_store_image(image, call.key, end_user).uuid) for image in judged)
        if review
        else ""
    )
    if doubts:
        # The images were stored, so they count; only the verdict is refused.
        call.reason = str(doubts)[:120]
        response = render_error(doubts)
    else:
        response = _render_reply(judged, truncated=len(images) > wire.IMAGES_MAX)
    response[CLASSIFIERS_HEADER] = ", ".join(
        dict.fromkeys(slug for image in judged for slug in image.by)
    )
    if review:
        response[ASSETS_HEADER] = stored
    return response


def _find_doubt(judged: Sequence[instant_classification.Judged]) -> ApiError | None:
    """Return an ApiError if an image is in doubt, else None."""
    for number, image in enumerate(judged, 1):
        if image.flagged is None:
            message = (
                f"Image {number} is neither true nor false: {image.doubt} The same call gets the"
                " same answer."
            )
            return ApiError(ApiErrorCode.IN_DOUBT, f"{message} With ?review=true a person decides.")
    return None


def _render_reply(
    judged: Sequence[instant_classification.Judged], *, truncated: bool
) -> HttpResponse:
    reply = wire.NsfwReply.of(
        [bool(image.flagged) for image in judged],
        request_id=f"req_{uuid4().hex}",
        price=Decimal(0),
        truncated=truncated,
    )
    return json_response(reply.to_wire())


def _check_storage() -> None:
    """Raise ApiError before any classification if images cannot be stored.

    Also reports this host's storage, for workers that need the file.
    """
    if error := storage_checks.refresh_report().error:
        raise _build_unavailable(error)


def _build_unavailable(message: str) -> ApiError:
    advice = "Nothing was counted. Send the same request again later, or without review=true."
    return ApiError(ApiErrorCode.UNAVAILABLE, f"{message} {advice}", retry_after=STORAGE_SECONDS)


def _parse_flag(values: list[str]) -> bool:
    if any(value not in ("", "true", "false") for value in values) or len(values) > 1:
        raise ApiError(ApiErrorCode.BODY_INVALID, "review is true or false.")
    return values == ["true"]


def _parse_images(call: Call) -> list[str]:
    body = read_json(call.request, body_max=BODY_MAX)
    try:
        images = wire.NsfwRequest.model_validate(body).images
    except ValidationError as error:
        fields = ", ".join(
            sorted({str(problem["loc"][0]) for problem in error.errors() if problem["loc"]})
        )
        about = f": {fields}" if fields else ""
        raise ApiError(ApiErrorCode.BODY_INVALID, f"Invalid request body{about}") from None
    if not images:
        raise ApiError(ApiErrorCode.BODY_INVALID, NO_IMAGES)
    return images


def _store_image(image: instant_classification.Judged, key: ApiKey, end_user: str) -> Asset:
    """Store an image for review, once per API key and picture.

    The same image again is the same asset, decided or not, and belongs to its first end user.
    """
    origin = Origin(
        source=Source.API,
        external_id=f"{key.uuid}:{image.rendition.source_sha256}",
        stored_by_id=key.owner_id,
        api_key_id=key.pk,
        original_name=f"sent by {key.name}"[:255],
        end_user=end_user,
    )
    try:
        return store_rendition(rendition=image.rendition, origin=origin)
    except AlreadyStoredError as stored:
        return stored.asset
    except StorageUnavailableError as error:
        storage_checks.record_failure(error)
        raise _build_unavailable(str(error)) from None
