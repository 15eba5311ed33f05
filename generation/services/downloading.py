"""From an address that expires to a stored asset. What cannot be had ends with a sentence, never
silently.
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
from generation.models import GenerationRequest, InvalidTransitionError, RemoteImage, Source
from generation.providers.base import (
    ProviderError,
    ProviderMisconfiguredError,
    TaskNotFoundError,
    TaskResult,
    TaskState,
)
from generation.services.storing import AlreadyStoredError, Origin, store_rendition
from generation.services.waiting import backoff
from generation.wire.secrets import redact

log = logging.getLogger("loupe.pipeline")
Status = GenerationRequest.Status

ATTEMPTS = 5
DECODER_RETRY = timedelta(seconds=30)
REFRESHES = 1  # how often a fresh address is asked for
EXPIRED = "The address has expired."


def download(*, image: RemoteImage) -> imaging.Rendition:
    """Fetch and decode; touches no database, so that several can run side by side. Raises
    FetchFailed, Unreadable.
    """
    if image.refreshes < REFRESHES and image.expires_at <= timezone.now():
        raise fetching.FetchError(EXPIRED, expired=True)
    fetched = fetching.fetch(image.url, allow=settings.FETCH_ALLOW)
    return imaging.render(fetched.content)


def keep(*, image: RemoteImage, rendition: imaging.Rendition) -> None:
    """Store what was downloaded. A second copy of the same image, after a crash, finds the first
    and ends there.

    Raises StorageUnavailableError; ``postpone`` is the answer to it.
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
        _end(image, RemoteImage.Status.STORED)


def postpone(*, image: RemoteImage, reason: str, wait: timedelta) -> None:
    """Let a claimed image wait for this machine. Not an attempt: the fault is neither the image's
    nor its provider's.

    Its address may have expired by then, so a fresh one may be asked for once more, too.
    """
    changes: dict[str, Any] = {"attempts": F("attempts") - 1, "refreshes": 0}
    _waiting(image).update(due_at=timezone.now() + wait, error=redact(reason), **changes)


def wants_fresh_address(image: RemoteImage, error: Exception) -> bool:
    return isinstance(error, fetching.FetchError) and error.expired and image.refreshes < REFRESHES


def miss(*, image: RemoteImage, error: Exception) -> None:
    """A download that did not work: again later, or given up with a sentence."""
    if isinstance(error, imaging.DecoderUnavailableError):
        postpone(image=image, reason=str(error), wait=DECODER_RETRY)
        return
    temporary = (
        isinstance(error, fetching.FetchError | imaging.UnreadableImageError) and error.retryable
    )
    if temporary and image.attempts < ATTEMPTS:
        # Once it has expired, the next attempt asks for a fresh address first.
        _again(image, timezone.now() + backoff(image.attempts, first=1, longest=120), str(error))
        return
    fresh = " The provider had already been asked for a fresh address." if image.refreshes else ""
    with transaction.atomic():
        _end(image, RemoteImage.Status.FAILED, error=f"{error}{fresh}")


def refresh(*, image: RemoteImage, answer: TaskResult | ProviderError) -> None:
    """Take a fresh address out of a new reading of the task, or give the image up, or ask again
    later.
    """
    if (
        isinstance(answer, ProviderError)
        and not isinstance(answer, TaskNotFoundError)
        and image.attempts < ATTEMPTS
    ):
        sentence = f"{EXPIRED} A fresh one is asked for again soon: {answer}"
        first = 60 if isinstance(answer, ProviderMisconfiguredError) else 2
        _again(image, timezone.now() + backoff(image.attempts, first=first), sentence)
        return
    if isinstance(answer, TaskResult) and answer.state is TaskState.SUCCEEDED:
        found = next(
            (one for one in answer.images if one.position == image.position and one.url), None
        )
        if found is not None:
            _waiting(image).update(
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
        _end(image, RemoteImage.Status.FAILED, error=f"{EXPIRED} There is no fresh one: {why}")


def _again(image: RemoteImage, due_at: datetime, sentence: str) -> None:
    _waiting(image).update(due_at=due_at, error=redact(sentence))


def _waiting(image: RemoteImage) -> QuerySet[RemoteImage]:
    return RemoteImage.objects.filter(
        pk=image.pk, status=RemoteImage.Status.WAITING, lease=image.lease
    )


def _end(image: RemoteImage, status: str, *, error: str = "") -> None:
    try:
        image.move_to(status, due_at=None, url="", error=redact(error))
    except InvalidTransitionError:
        return
    finish_if_complete(request=image.request)


def finish_if_complete(*, request: GenerationRequest) -> None:
    """End a request whose last image has been stored or given up."""
    images = list(RemoteImage.objects.filter(request=request).defer("url"))
    if any(image.status == RemoteImage.Status.WAITING for image in images):
        return
    missing = [image for image in images if image.status == RemoteImage.Status.FAILED]
    stored = len(images) - len(missing)
    sentence = ""
    if missing or stored < request.image_num:
        sentence = f"{stored} of {request.image_num} images could be stored."
        sentence += "".join(f" Image {image.position + 1}: {image.error}" for image in missing)
    try:
        if stored:
            request.move_to(
                Status.SUCCEEDED,
                only_from=Status.FETCHING,
                error=sentence,
                reason="PARTIAL" if sentence else "",
            )
        else:
            request.move_to(
                Status.FAILED, only_from=Status.FETCHING, error=sentence, reason="IMAGES_LOST"
            )
    except InvalidTransitionError:
        log.info("request %s was finished by somebody else", request.short_id)
