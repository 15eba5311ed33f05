"""Submission of requests: the step that spends money, never repeated automatically."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Case, DateTimeField, F, Value, When
from django.utils import timezone

from generation import jobs, providers
from generation.core.backoff import add_jitter
from generation.models import GenerationRequest
from generation.providers.base import (
    ImageProvider,
    OutcomeUnknownError,
    ProviderBusyError,
    ProviderError,
    ProviderMisconfiguredError,
    ProviderRejectedError,
)
from generation.services import health, rates, spending, waiting, webhooks
from generation.wire.secrets import redact

Status = GenerationRequest.Status

# Longer than the client's total timeout: the worker of an older row in `submitting` is gone.
SUBMIT_LEASE = timedelta(minutes=3)
UNKNOWN_SENTENCE = (
    "It may have been generated and billed, but the answer was lost. It is not sent again by"
    " itself, because the provider would bill it twice."
)


def submit(*, request: GenerationRequest) -> None:
    """Send a claimed request, or postpone it. `submitting` is committed before the POST."""
    try:
        provider = providers.get(request.provider)
    except LookupError as error:
        request.move_to(Status.SUBMITTING, only_from=Status.QUEUED, where={"lease": request.lease})
        _fail(request, "NOT_CONFIGURED", str(error), cost=request.cost)
        return
    before = request.cost
    address, digest = webhooks.new_address(request.provider)
    with transaction.atomic():
        wait = waiting.needed(request)
        if wait is None:
            _begin(request, digest)
    if wait is not None:
        waiting.postpone(request, wait)
        return
    _send(provider, request, address, before)


def _begin(request: GenerationRequest, digest: str) -> None:
    now = timezone.now()
    price = spending.price(
        request.provider, images=request.image_num, detection=request.enable_nsfw_detection
    )
    request.move_to(
        Status.SUBMITTING,
        only_from=Status.QUEUED,
        where={"lease": request.lease},
        attempts=F("attempts") + 1,
        due_at=now + SUBMIT_LEASE,
        submitted_at=now,
        reason="",
        error="",
        webhook_digest=digest,
        candidate_task_id="",
        # Counted from now on, even if the worker dies. A request that a person sends twice may cost
        # twice.
        cost=(request.cost or Decimal(0)) + price,
    )


def _send(
    provider: ImageProvider, request: GenerationRequest, address: str, before: Decimal | None
) -> None:
    submission = replace(request.submission, webhook_url=address)
    try:
        task_id = provider.submit(submission, on_answer=lambda raw: _keep_answer(request, raw))
    except ProviderBusyError as busy:
        _wait_for(request, busy, before)
        _note_failure(request, busy)
    except ProviderRejectedError as rejected:
        _fail(request, rejected.reason or "REJECTED", str(rejected), cost=before)
        if isinstance(rejected, ProviderMisconfiguredError):
            _note_failure(request, rejected)
        else:
            health.succeeded(request.provider)
    except OutcomeUnknownError as unknown:
        lose(request=request, reason=unknown.reason or "OUTCOME_UNKNOWN", what=str(unknown))
        _note_failure(request, unknown)
    else:
        with transaction.atomic():
            request.move_to(
                Status.PROCESSING,
                only_from=Status.SUBMITTING,
                provider_task_id=task_id,
                attempts=0,
                due_at=timezone.now(),
                lease=None,
                candidate_task_id="",
            )
            jobs.wake("poll")
        health.succeeded(request.provider)


def _wait_for(request: GenerationRequest, busy: ProviderBusyError, before: Decimal | None) -> None:
    """Queue a request again that was certainly not accepted, and slow the other requests down."""
    per_minute = providers.terms(request.provider).images_per_minute
    asked = min(timedelta(seconds=busy.retry_after or 0), rates.HELD_LONGEST)
    if busy.limited or asked:
        rates.hold(request.provider, asked, per_minute=per_minute)
    wait = add_jitter(asked, 0.1) if asked else waiting.BACKOFF.delay(request.attempts)
    request.move_to(
        Status.QUEUED,
        only_from=Status.SUBMITTING,
        due_at=timezone.now() + wait,
        reason=busy.reason or "BUSY",
        error=redact(str(busy)),
        submitted_at=None,
        cost=before,
    )


def _note_failure(request: GenerationRequest, error: ProviderError) -> None:
    health.failed(request.provider, str(error))
    health.pause_if_failing(
        request.provider, per_minute=providers.terms(request.provider).images_per_minute
    )


def lose(*, request: GenerationRequest, reason: str, what: str) -> None:
    """Mark a submission as unknown: its outcome cannot be determined.

    Only a person moves it on, or a webhook that named its task.
    """
    now = Value(timezone.now(), output_field=DateTimeField())
    request.move_to(
        Status.UNKNOWN,
        only_from=Status.SUBMITTING,
        due_at=Case(When(candidate_task_id="", then=None), default=now),
        attempts=0,
        reason=reason,
        error=redact(f"{what} {UNKNOWN_SENTENCE}".strip()),
    )


def _keep_answer(request: GenerationRequest, raw: str) -> None:
    GenerationRequest.objects.filter(pk=request.pk).update(submit_answer=redact(raw)[:4096])


def _fail(request: GenerationRequest, reason: str, sentence: str, **fields: Any) -> None:
    said = redact(sentence) or "The provider gave no reason."
    request.move_to(Status.FAILED, reason=reason[:80], error=said, eta_seconds=None, **fields)
