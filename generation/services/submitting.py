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
from generation.models import GenerationRequest, ServiceCall
from generation.providers.base import (
    ImageProvider,
    OutcomeUnknownError,
    ProviderBusyError,
    ProviderError,
    ProviderMisconfiguredError,
    ProviderRejectedError,
)
from generation.services import health, rates, service_calls, spending, waiting, webhooks
from generation.wire.secrets import redact

Status = GenerationRequest.Status

# Longer than the client's total timeout: the worker of an older row in `submitting` is gone.
SUBMIT_LEASE = timedelta(minutes=3)
UNKNOWN_MESSAGE = (
    "It may have been generated and billed, but the answer was lost. It is not "
    "sent again automatically, because the provider would bill it twice."
)


def submit_request(*, request: GenerationRequest) -> None:
    """Send a claimed request, or postpone it. `submitting` is committed before the POST."""
    try:
        provider = providers.get_provider(request.provider)
    except LookupError as error:
        request.move_to(Status.SUBMITTING, only_from=Status.QUEUED, where={"lease": request.lease})
        _mark_failed(request, "NOT_CONFIGURED", str(error), cost=request.cost)
        return
    before = request.cost
    webhook_url, digest = webhooks.create_webhook_url(request.provider)
    with transaction.atomic():
        wait = waiting.reserve_or_wait(request)
        if wait is None:
            _mark_submitting(request, digest)
    if wait is not None:
        waiting.postpone_request(request, wait)
        return
    _send_request(provider, request, webhook_url, before)


def _mark_submitting(request: GenerationRequest, digest: str) -> None:
    now = timezone.now()
    price = spending.compute_price(
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


def _send_request(
    provider: ImageProvider, request: GenerationRequest, webhook_url: str, before: Decimal | None
) -> None:
    submission = replace(request.submission, webhook_url=webhook_url)
    price = (request.cost or Decimal(0)) - (before or Decimal(0))
    try:
        with service_calls.measure() as stopwatch:
            task_id = provider.submit(submission, on_answer=lambda raw: _store_answer(request, raw))
    except ProviderBusyError as busy:
        _requeue_busy(request, busy, before)
        _note_failure(request, busy, ServiceCall.Outcome.RETRIED)
    except ProviderRejectedError as rejected:
        _mark_failed(request, rejected.reason or "REJECTED", str(rejected), cost=before)
        if isinstance(rejected, ProviderMisconfiguredError):
            _note_failure(request, rejected)
        else:
            health.record_success(request.provider)
            _record_answer(request, stopwatch.milliseconds)
    except OutcomeUnknownError as unknown:
        mark_unknown(request=request, reason=unknown.reason or "OUTCOME_UNKNOWN", what=str(unknown))
        # It may have been billed.
        _note_failure(request, unknown, cost=price)
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
        health.record_success(request.provider)
        _record_answer(request, stopwatch.milliseconds, cost=price)


def _requeue_busy(
    request: GenerationRequest, busy: ProviderBusyError, before: Decimal | None
) -> None:
    """Queue a request again that was certainly not accepted, and slow the other requests down."""
    per_minute = providers.get_terms(request.provider).images_per_minute
    asked = min(timedelta(seconds=busy.retry_after or 0), rates.HELD_LONGEST)
    if busy.limited or asked:
        rates.hold_provider(request.provider, asked, per_minute=per_minute)
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


def _record_answer(
    request: GenerationRequest, milliseconds: int, *, cost: Decimal = Decimal(0)
) -> None:
    """Note an answer of the provider; a refused prompt is one too."""
    service_calls.record_calls(
        request.provider,
        ServiceCall.Kind.SUBMIT,
        ServiceCall.Outcome.DONE,
        milliseconds=milliseconds,
        cost=cost,
    )


def _note_failure(
    request: GenerationRequest,
    error: ProviderError,
    outcome: ServiceCall.Outcome = ServiceCall.Outcome.FAILED,
    *,
    cost: Decimal = Decimal(0),
) -> None:
    service_calls.record_calls(request.provider, ServiceCall.Kind.SUBMIT, outcome, cost=cost)
    health.record_failure(request.provider, str(error))
    health.pause_if_failing(
        request.provider, per_minute=providers.get_terms(request.provider).images_per_minute
    )


def mark_unknown(*, request: GenerationRequest, reason: str, what: str) -> None:
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
        error=redact(f"{what} {UNKNOWN_MESSAGE}".strip()),
    )


def _store_answer(request: GenerationRequest, raw: str) -> None:
    GenerationRequest.objects.filter(pk=request.pk).update(submit_answer=redact(raw)[:4096])


def _mark_failed(request: GenerationRequest, reason: str, message: str, **fields: Any) -> None:
    error_text = redact(message) or "The provider gave no reason."
    request.move_to(Status.FAILED, reason=reason[:80], error=error_text, eta_seconds=None, **fields)
