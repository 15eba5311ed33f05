"""Application of task results to requests. Idempotent: a repeated result changes nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from generation import jobs
from generation.core.backoff import delay_by_age
from generation.models import GenerationRequest, InvalidTransitionError, RemoteImage
from generation.providers.base import (
    Detection,
    ProviderBusyError,
    ProviderError,
    ResultImage,
    TaskNotFoundError,
    TaskResult,
    TaskState,
)
from generation.services import rates
from generation.services.waiting import retry_delay
from generation.wire.secrets import redact, without_secrets

log = logging.getLogger("loupe.pipeline")
Status = GenerationRequest.Status
FINISHED = (TaskState.SUCCEEDED, TaskState.FAILED)
POLL_SHORTEST, POLL_LONGEST = timedelta(seconds=1), timedelta(seconds=10)
RESULT_MAX = 256 * 1024  # characters of JSON; a result with 8 images has about 10 thousand


def apply_answers(pairs: Iterable[tuple[GenerationRequest, TaskResult | ProviderError]]) -> None:
    """Apply the polls of claimed requests.

    The progress of all unfinished tasks is stored in one transaction: a commit for each would limit
    polling to a few hundred tasks per second.
    """
    unfinished = list[tuple[GenerationRequest, TaskResult]]()
    for request, answer in pairs:
        if isinstance(answer, TaskResult) and answer.state not in FINISHED:
            unfinished.append((request, answer))
        else:
            apply_answer(request=request, answer=answer)
    with transaction.atomic():
        for request, result in unfinished:
            _note_progress(request, result)


def apply_answer(*, request: GenerationRequest, answer: TaskResult | ProviderError) -> None:
    """Apply one poll to a claimed request. Without its lease nothing is changed."""
    try:
        if isinstance(answer, TaskNotFoundError):
            message = "The provider no longer knows this task; its images are lost."
            _mark_failed(request, "TASK_NOT_FOUND", message)
        elif isinstance(answer, ProviderError):
            _schedule_retry(request, answer)
        elif answer.state is TaskState.FAILED:
            message = redact(answer.reason) or "The provider failed without giving a reason."
            _mark_failed(request, "TASK_FAILED", message, result=make_storable(answer.raw))
        elif answer.state is TaskState.SUCCEEDED:
            _expect_images(request, answer)
        else:
            _note_progress(request, answer)
    except InvalidTransitionError:
        log.info("request %s was moved on by somebody else", request.short_id)


def make_storable(raw: Any) -> Any:
    """Return a raw response in storable form: without secrets, shortened beyond RESULT_MAX."""
    clean = without_secrets(raw)
    text = json.dumps(clean)
    return clean if len(text) <= RESULT_MAX else {"too_long": text[:RESULT_MAX]}


def _mark_failed(request: GenerationRequest, reason: str, message: str, **fields: Any) -> None:
    """Move the request to failed if the lease is still held."""
    fence = {"lease": request.lease}
    request.move_to(
        Status.FAILED, where=fence, reason=reason, error=message, eta_seconds=None, **fields
    )


def _schedule_retry(request: GenerationRequest, error: ProviderError) -> None:
    # An operator can fix missing permissions. The task is paid for, so it is never dropped for that
    # reason.
    wait = retry_delay(error, request.attempts)
    if isinstance(error, ProviderBusyError) and error.retry_after:
        wait = min(timedelta(seconds=error.retry_after), rates.HELD_LONGEST)
    changes: dict[str, Any] = {} if error.raw is None else {"result": make_storable(error.raw)}
    _claimed(request).update(
        due_at=timezone.now() + wait,
        attempts=F("attempts") + 1,
        reason=error.reason[:80],
        error=redact(str(error)),
        **changes,
    )


def _note_progress(request: GenerationRequest, answer: TaskResult) -> None:
    """Record progress and schedule the next poll: a tenth of the age, 1 to 10 seconds."""
    age = timezone.now() - (request.submitted_at or request.created_at)
    wait = delay_by_age(age, share=0.1, shortest=POLL_SHORTEST, longest=POLL_LONGEST)
    odd = answer.state is TaskState.UNRECOGNISED
    _claimed(request).update(
        due_at=timezone.now() + wait,
        attempts=0,
        progress=min(max(answer.progress, request.progress), 100),
        eta_seconds=answer.eta_seconds,
        result=make_storable(answer.raw),
        reason="UNRECOGNISED_STATUS" if odd else "",
        error=f"The provider answers with a status that is not documented: {redact(answer.reason)}."
        if odd
        else "",
    )


def _claimed(request: GenerationRequest) -> QuerySet[GenerationRequest]:
    """Return a queryset of the request, empty unless it is processing under our lease."""
    return GenerationRequest.objects.filter(
        pk=request.pk, status=Status.PROCESSING, lease=request.lease
    )


def _expect_images(request: GenerationRequest, answer: TaskResult) -> None:
    """Record the URLs of the finished images and move the request to fetching."""
    result = make_storable(answer.raw)
    if not answer.images:
        _mark_failed(
            request,
            "NO_IMAGES",
            "The provider reports success but returned no image.",
            result=result,
        )
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
            result=result,
        )
        rows = [_make_remote_image(request, image) for image in answer.images]
        RemoteImage.objects.bulk_create(rows, ignore_conflicts=True)
        jobs.wake("fetch")


def _make_remote_image(request: GenerationRequest, image: ResultImage) -> RemoteImage:
    return RemoteImage(
        request=request,
        position=image.position,
        url=image.url,
        expires_at=image.expires_at,
        image_type=image.image_type,
        seed=image.seed,
        detection=_serialize_detection(image.detection),
        due_at=timezone.now(),
    )


def _serialize_detection(detection: Detection | None) -> dict[str, Any] | None:
    """Convert a detection to JSON; None if there was none.

    ``valid`` is true, false, or None if the provider's response did not contain it.
    """
    if detection is None:
        return None
    confidence = detection.confidence
    return {"valid": detection.valid, "confidence": None if confidence is None else str(confidence)}
