"""Checks before a request is sent: storage, order, spending limit, rate limit.

Requests that must wait stay queued, first in, first out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone

from generation import providers
from generation.core.backoff import Backoff
from generation.models import GenerationRequest, ProviderState
from generation.providers.base import ProviderError, ProviderMisconfiguredError
from generation.services import rates, spending, storage_checks

Status = GenerationRequest.Status
RATE_LIMITED, PAUSED, SPENDING_LIMIT = "RATE_LIMITED", "PROVIDER_PAUSED", "SPENDING_LIMIT"
STORAGE = "STORAGE_UNAVAILABLE"
BACKOFF = Backoff(base=2, cap=600, jitter=0.25)
# An operator has to fix a setting or a permission, which takes longer.
MISCONFIGURED_BACKOFF = Backoff(base=60, cap=600, jitter=0.25)


@dataclass(frozen=True, slots=True)
class Wait:
    """A delay of a request: its end, reason code and message."""

    until: datetime
    reason: str
    message: str


def retry_delay(error: ProviderError, attempts: int) -> timedelta:
    """Return the delay before the provider is asked again after this error."""
    is_misconfigured = isinstance(error, ProviderMisconfiguredError)
    return (MISCONFIGURED_BACKOFF if is_misconfigured else BACKOFF).delay(attempts)


def reserve_or_wait(request: GenerationRequest) -> Wait | None:
    """Return the reason to wait; None if the request may be sent now.

    None means that its tokens are taken. Call it inside a transaction.
    """
    if outage := storage_checks.explain_outage():  # a paid image could not be stored
        return Wait(timezone.now() + storage_checks.RETRY_AFTER, STORAGE, outage)
    ahead = _queued_requests(request).filter(
        pk__lt=request.pk, reason=RATE_LIMITED, lease=None, due_at__gt=timezone.now()
    )
    first = ahead.order_by("due_at").values_list("due_at", "error").first()
    if first and first[0]:
        # Otherwise smaller requests would take every token and a large one would never be sent.
        return Wait(first[0], RATE_LIMITED, first[1])
    cost = spending.compute_price(
        request.provider, images=request.image_num, detection=request.enable_nsfw_detection
    )
    spending.lock_spending(request.provider)
    if refused := spending.explain_refusal(cost):
        return Wait(spending.start_of_next_day(), SPENDING_LIMIT, refused)
    per_minute = providers.get_terms(request.provider).images_per_minute
    until = rates.take_tokens(request.provider, request.image_num, per_minute=per_minute)
    return _wait_for_tokens(request.provider, until, per_minute) if until else None


def _wait_for_tokens(slug: str, until: datetime, per_minute: int) -> Wait:
    label = providers.list_labels().get(slug, slug)
    if rates.read_bucket(slug).held_until(timezone.now()):
        last = (
            ProviderState.objects.filter(slug=slug).values_list("last_error", flat=True).first()
            or ""
        )
        message = (
            f"{label} is paused until {until:%H:%M:%S} UTC, because it was busy or kept"
            f" failing. {last}"
        )
        return Wait(until, PAUSED, message.strip())
    message = (
        f"{label} takes {per_minute} images per minute, and this limit is used up."
        f" The request is sent at {until:%H:%M:%S} UTC or soon after."
    )
    return Wait(until, RATE_LIMITED, message)


def postpone_request(request: GenerationRequest, wait: Wait) -> None:
    """Delay a claimed request and all other due requests of its provider, which would wait too."""
    mine = Q(pk=request.pk, lease=request.lease)
    others = Q(due_at__lte=timezone.now()) if wait.reason != SPENDING_LIMIT else Q(pk__in=[])
    changes = {"due_at": wait.until, "reason": wait.reason, "error": wait.message, "lease": None}
    _queued_requests(request).filter(mine | others).update(**changes)


def _queued_requests(request: GenerationRequest) -> QuerySet[GenerationRequest]:
    return GenerationRequest.objects.filter(provider=request.provider, status=Status.QUEUED)
