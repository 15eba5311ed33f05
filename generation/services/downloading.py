"""Download of finished images from expiring URLs into stored assets.

Every image that cannot be stored ends with an error message on its row.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from generation import fetching, imaging
from generation.core.backoff import Backoff
from generation.models import GenerationRequest, InvalidTransitionError, RemoteImage, Source
from generation.providers.base import (
    ProviderError,
    TaskNotFoundError,
    TaskResult,
    TaskState,
)
from generation.services.storing import AlreadyStoredError, Origin, store_rendition
from generation.services.waiting import retry_delay
from generation.wire.secrets import redact

log = logging.getLogger("loupe.pipeline")
Status = GenerationRequest.Status

ATTEMPTS = 5
CRASHES_MAX = 3  # attempts that all ended with their worker
DECODER_RETRY = timedelta(seconds=30)
BACKOFF = Backoff(base=1, cap=120, jitter=0.25)
REFRESHES = 1  # per image: number of times that a new URL is requested
EXPIRED = "The URL has expired."


def download_image(*, image: RemoteImage) -> imaging.Rendition:
    """Fetch and decode one image.

    Uses no database, so several downloads can run in parallel. Raises FetchError,
    BlockedAddressError, UnreadableImageError, DecoderUnavailableError.
    """
    if image.refreshes < REFRESHES and image.expires_at <= timezone.now():
        raise fetching.FetchError(EXPIRED, expired=True)
    fetched = fetching.fetch(image.url, allow=settings.FETCH_ALLOW)
    return imaging.render(fetched.content)


def has_crashed_too_often(image: RemoteImage) -> bool:
    """Return whether earlier attempts of a claimed image ended with their worker too often.

    Every other attempt leaves an error message.
    """
    return image.attempts > (ATTEMPTS if image.error else CRASHES_MAX)


def store_download(*, image: RemoteImage, rendition: imaging.Rendition) -> None:
    """Store a downloaded image and mark its row as stored.

    Idempotent: after a crash the second run finds the stored asset and only updates the row.
    Raises StorageUnavailableError; the caller then calls ``postpone``.
    """
    request = image.request
    origin = Origin(
        source=Source.TXT2IMG,
        request=request,
        position=image.position,
        provider_url=image.url.partition("?")[0],
        url_expires_at=image.expires_at,
        detection=image.detection,
        detection_level=request.nsfw_detection_level if request.enable_nsfw_detection else None,
        stored_by_id=request.requested_by_id,
        seed=image.seed,
    )
    with transaction.atomic():
        try:
            store_rendition(rendition=rendition, origin=origin)
        except AlreadyStoredError:
            log.info("image %s of request %s was stored before", image.position, request.short_id)
        _finish_image(image, RemoteImage.Status.STORED)


def postpone(*, image: RemoteImage, reason: str, wait: timedelta) -> None:
    """Delay a claimed image because of a fault on this host.

    Does not count as an attempt, because neither the image nor its provider caused the fault.
    Resets ``refreshes``, because the URL may expire during the delay.
    """
    changes: dict[str, Any] = {"attempts": F("attempts") - 1, "refreshes": 0}
    _claimed(image).update(due_at=timezone.now() + wait, error=redact(reason), **changes)


def needs_new_url(image: RemoteImage, error: Exception) -> bool:
    """Return whether the error is an expired URL that may still be renewed."""
    return isinstance(error, fetching.FetchError) and error.expired and image.refreshes < REFRESHES


def handle_failure(*, image: RemoteImage, error: Exception) -> None:
    """Handle a failed download: schedule a retry, or mark the image as failed."""
    if isinstance(error, imaging.DecoderUnavailableError):
        postpone(image=image, reason=str(error), wait=DECODER_RETRY)
        return
    temporary = (
        isinstance(error, fetching.FetchError | imaging.UnreadableImageError) and error.retryable
    )
    if temporary and image.attempts < ATTEMPTS and not has_crashed_too_often(image):
        # If the URL has expired by then, the next attempt requests a new one first.
        _schedule_retry(image, timezone.now() + BACKOFF.delay(image.attempts), str(error))
        return
    fresh = " The provider had already been asked for a new URL." if image.refreshes else ""
    with transaction.atomic():
        _finish_image(image, RemoteImage.Status.FAILED, error=f"{error}{fresh}")


def apply_second_reading(*, image: RemoteImage, answer: TaskResult | ProviderError) -> None:
    """Apply a second reading of the task after the image's URL expired.

    Store the new URL, retry later, or mark the image as failed if the provider has none.
    """
    if (
        isinstance(answer, ProviderError)
        and not isinstance(answer, TaskNotFoundError)
        and image.attempts < ATTEMPTS
    ):
        message = f"{EXPIRED} A new one is requested again soon: {answer}"
        _schedule_retry(image, timezone.now() + retry_delay(answer, image.attempts), message)
        return
    if isinstance(answer, TaskResult) and answer.state is TaskState.SUCCEEDED:
        found = next(
            (one for one in answer.images if one.position == image.position and one.url), None
        )
        if found is not None:
            _claimed(image).update(
                url=found.url,
                expires_at=found.expires_at,
                refreshes=F("refreshes") + 1,
                due_at=timezone.now(),
                attempts=0,
                error="",
            )
            return
    why = (
        str(answer)
        if isinstance(answer, ProviderError)
        else "the provider's result names no image in this place."
    )
    with transaction.atomic():
        _finish_image(
            image, RemoteImage.Status.FAILED, error=f"{EXPIRED} There is no new one: {why}"
        )


def _schedule_retry(image: RemoteImage, due_at: datetime, message: str) -> None:
    """Schedule the next attempt and record the error message."""
    _claimed(image).update(due_at=due_at, error=redact(message))


def _claimed(image: RemoteImage) -> QuerySet[RemoteImage]:
    """Return a queryset of the image, empty unless it still waits under our lease."""
    return RemoteImage.objects.filter(
        pk=image.pk, status=RemoteImage.Status.WAITING, lease=image.lease
    )


def _finish_image(image: RemoteImage, status: str, *, error: str = "") -> None:
    """Move the image to its final status, then finish its request if it was the last one."""
    try:
        image.move_to(status, due_at=None, url="", error=redact(error))
    except InvalidTransitionError:
        return
    finish_if_complete(request=image.request)


def finish_if_complete(*, request: GenerationRequest) -> None:
    """Finish a request when no image is waiting: succeeded if any image was stored."""
    images = list(RemoteImage.objects.filter(request=request).defer("url"))
    if any(image.status == RemoteImage.Status.WAITING for image in images):
        return
    missing = [image for image in images if image.status == RemoteImage.Status.FAILED]
    stored = len(images) - len(missing)
    message = ""
    if missing or stored < request.image_num:
        message = f"{stored} of {request.image_num} images could be stored."
        message += "".join(f" Image {image.position + 1}: {image.error}" for image in missing)
    try:
        if stored:
            request.move_to(
                Status.SUCCEEDED,
                only_from=Status.FETCHING,
                error=message,
                reason="PARTIAL" if message else "",
            )
        else:
            request.move_to(
                Status.FAILED, only_from=Status.FETCHING, error=message, reason="IMAGES_LOST"
            )
    except InvalidTransitionError:
        log.info("request %s was finished by somebody else", request.short_id)
