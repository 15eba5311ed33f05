"""What workers do: submit, read results, fetch images. Each step may be run twice, or die anywhere, without harm."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from generation import fetching, imaging, providers, pumps
from generation.models import GenerationRequest, InvalidTransition, RemoteImage, Source
from generation.providers.base import (
    Detection,
    OutcomeUnknown,
    ProviderBusy,
    ProviderError,
    ProviderMisconfigured,
    ProviderRejected,
    TaskNotFound,
    TaskResult,
    TaskState,
)
from generation.services.storing import AlreadyStored, Origin, store_rendition

log = logging.getLogger("loupe.pipeline")
Status = GenerationRequest.Status

# Longer than the client's total timeout: a row found in `submitting` after this has lost its worker.
SUBMIT_LEASE = timedelta(minutes=3)
FETCH_ATTEMPTS = 5
UNKNOWN_SENTENCE = (
    "It may have been generated and billed, but the answer was lost. It is not sent again by itself, because the "
    "provider would bill it twice."
)


def backoff(attempts: int, *, first: float = 2, longest: float = 600) -> timedelta:
    return timedelta(seconds=min(first * 2 ** min(attempts, 12), longest))


# --- Submitting --------------------------------------------------------------------


def submit(*, request: GenerationRequest) -> None:
    """Send a claimed request. `submitting` is committed before the POST, so it is never sent twice by itself."""
    try:
        provider = providers.get(request.provider)
    except LookupError as error:
        request.move_to(Status.SUBMITTING, only_from=Status.QUEUED, where={"lease": request.lease})
        _fail(request, "NOT_CONFIGURED", str(error))
        return
    now = timezone.now()
    request.move_to(
        Status.SUBMITTING, only_from=Status.QUEUED, where={"lease": request.lease}, attempts=F("attempts") + 1,
        due_at=now + SUBMIT_LEASE, submitted_at=now, reason="", error="",
    )  # fmt: skip
    try:
        task_id = provider.submit(request.submission, on_answer=lambda raw: _keep_answer(request, raw))
    except ProviderBusy as busy:
        wait = timedelta(seconds=busy.retry_after) if busy.retry_after else backoff(request.attempts)
        request.move_to(
            Status.QUEUED, only_from=Status.SUBMITTING, due_at=timezone.now() + min(wait, timedelta(minutes=10)),
            reason=busy.reason or "BUSY", error=str(busy), submitted_at=None,
        )  # fmt: skip
    except ProviderRejected as rejected:
        _fail(request, rejected.reason or "REJECTED", str(rejected))
    except OutcomeUnknown as unknown:
        lose(request=request, reason=unknown.reason or "OUTCOME_UNKNOWN", what=str(unknown))
    else:
        with transaction.atomic():
            request.move_to(
                Status.PROCESSING, only_from=Status.SUBMITTING, provider_task_id=task_id, attempts=0,
                due_at=timezone.now(), lease=None,
            )  # fmt: skip
            pumps.wake("poll")


def lose(*, request: GenerationRequest, reason: str, what: str) -> None:
    """Mark a submission whose fate nobody knows. Only a person moves it on."""
    request.move_to(
        Status.UNKNOWN,
        only_from=Status.SUBMITTING,
        due_at=None,
        reason=reason,
        error=f"{what} {UNKNOWN_SENTENCE}".strip(),
    )


def _keep_answer(request: GenerationRequest, raw: str) -> None:
    GenerationRequest.objects.filter(pk=request.pk).update(submit_answer=raw[:4096])


def _fail(request: GenerationRequest, reason: str, sentence: str) -> None:
    request.move_to(
        Status.FAILED, reason=reason[:80], error=sentence or "The provider gave no reason.", eta_seconds=None
    )


# --- Reading results --------------------------------------------------------------------


def apply_answer(*, request: GenerationRequest, answer: TaskResult | ProviderError) -> None:
    """Take in one poll. ``request`` was claimed: with another holder's lease nothing is changed."""
    fence = {"lease": request.lease}
    try:
        if isinstance(answer, TaskNotFound):
            sentence = "The provider does not know this task any more; its images are lost."
            request.move_to(Status.FAILED, where=fence, reason="TASK_NOT_FOUND", error=sentence)
        elif isinstance(answer, ProviderError):
            _ask_later(request, answer)
        elif answer.state is TaskState.FAILED:
            sentence = answer.reason or "The provider failed without giving a reason."
            request.move_to(Status.FAILED, where=fence, reason="TASK_FAILED", error=sentence, eta_seconds=None)
        elif answer.state is TaskState.SUCCEEDED:
            _expect_images(request, answer)
        else:
            _note_progress(request, answer)
    except InvalidTransition:
        log.info("request %s was moved on by somebody else", request.short_id)


def _ask_later(request: GenerationRequest, error: ProviderError) -> None:
    # A missing permission may be put right by an operator; the task is paid for, so it is never given up for that.
    first = 60 if isinstance(error, ProviderMisconfigured) else 2
    wait = backoff(request.attempts, first=first)
    if isinstance(error, ProviderBusy) and error.retry_after:
        wait = timedelta(seconds=error.retry_after)
    _still(request).update(
        due_at=timezone.now() + wait, attempts=F("attempts") + 1, reason=error.reason[:80], error=str(error)
    )


def _note_progress(request: GenerationRequest, answer: TaskResult) -> None:
    age = (timezone.now() - (request.submitted_at or request.created_at)).total_seconds()
    odd = answer.state is TaskState.UNRECOGNISED
    _still(request).update(
        due_at=timezone.now() + timedelta(seconds=min(max(age / 10, 1), 10)),
        attempts=0,
        progress=min(max(answer.progress, request.progress), 100),
        eta_seconds=answer.eta_seconds,
        reason="UNRECOGNISED_STATUS" if odd else "",
        error=f"The provider answers with a status that is not documented: {answer.reason}" if odd else "",
    )


def _still(request: GenerationRequest) -> Any:
    return GenerationRequest.objects.filter(pk=request.pk, status=Status.PROCESSING, lease=request.lease)


def _expect_images(request: GenerationRequest, answer: TaskResult) -> None:
    if not answer.images:
        sentence = "The provider reports success but returned no image."
        request.move_to(Status.FAILED, where={"lease": request.lease}, reason="NO_IMAGES", error=sentence)
        return
    with transaction.atomic():
        request.move_to(
            Status.FETCHING,
            where={"lease": request.lease},
            due_at=None,
            progress=100,
            eta_seconds=None,
            reason="",
            error="",
        )
        RemoteImage.objects.bulk_create(
            [
                RemoteImage(
                    request=request, position=image.position, url=image.url, expires_at=image.expires_at,
                    image_type=image.image_type, detection=_detection(image.detection), due_at=timezone.now(),
                )
                for image in answer.images
            ],
            ignore_conflicts=True,
        )  # fmt: skip
        pumps.wake("fetch")


def _detection(detection: Detection | None) -> dict[str, Any] | None:
    if detection is None:
        return None
    confidence = detection.confidence
    return {"valid": detection.valid, "confidence": None if confidence is None else str(confidence)}


# --- Fetching --------------------------------------------------------------------


def download(*, image: RemoteImage) -> imaging.Rendition:
    """Fetch and decode; touches no database, so that several can run side by side. Raises FetchFailed, Unreadable."""
    fetched = fetching.fetch(image.url, allow=settings.FETCH_ALLOW)
    return imaging.render(fetched.content)


def keep(*, image: RemoteImage, rendition: imaging.Rendition) -> None:
    """Store what was downloaded. A second copy of the same image, after a crash, finds the first and ends there."""
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
    )
    with transaction.atomic():
        try:
            store_rendition(rendition=rendition, origin=origin)
        except AlreadyStored:
            log.info("image %s of request %s was stored before", image.position, request.short_id)
        _end(image, RemoteImage.Status.STORED)


def miss(*, image: RemoteImage, error: Exception) -> None:
    """A download that did not work: again later, or given up with a sentence."""
    temporary = isinstance(error, imaging.DecoderUnavailable) or (
        isinstance(error, fetching.FetchFailed | imaging.Unreadable) and error.retryable
    )
    if temporary and image.attempts < FETCH_ATTEMPTS and image.expires_at > timezone.now():
        due = timezone.now() + backoff(image.attempts, first=1, longest=120)
        RemoteImage.objects.filter(pk=image.pk, lease=image.lease).update(due_at=due, error=str(error))
        return
    with transaction.atomic():
        _end(image, RemoteImage.Status.FAILED, error=str(error))


def _end(image: RemoteImage, status: str, *, error: str = "") -> None:
    try:
        image.move_to(status, due_at=None, url="", error=error)
    except InvalidTransition:
        return
    finish_if_complete(request=image.request)


def finish_if_complete(*, request: GenerationRequest) -> None:
    """End a request whose last image has been stored or given up."""
    images = list(RemoteImage.objects.filter(request=request))
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
                Status.SUCCEEDED, only_from=Status.FETCHING, error=sentence, reason="PARTIAL" if sentence else ""
            )
        else:
            request.move_to(Status.FAILED, only_from=Status.FETCHING, error=sentence, reason="IMAGES_LOST")
    except InvalidTransition:
        log.info("request %s was finished by somebody else", request.short_id)
