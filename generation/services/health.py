"""Provider health: last success, last error, and a pause after repeated failures."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import F, Q
from django.utils import timezone

from generation.models import GenerationRequest, ProviderState, RequestTransition
from generation.services import rates
from generation.wire.secrets import redact

Status = GenerationRequest.Status

# Limits writes: a busy provider succeeds many times a second.
SUCCESS_EVERY = timedelta(seconds=10)
FAILURES = 5
PAUSE = timedelta(minutes=1)
_LOOK_BACK = 500  # transitions; older ones are not relevant to the current state


def record_success(slug: str) -> None:
    """Record a success: the provider answered correctly, including rejections of a prompt."""
    now = timezone.now()
    stale = Q(last_success_at=None) | Q(last_success_at__lt=now - SUCCESS_EVERY)
    worse = Q(last_error_at__gt=F("last_success_at"))
    _update_state(slug, Q(stale | worse), last_success_at=now)


def record_failure(slug: str, message: str) -> None:
    """Record a failure. ``message`` is shown to operators."""
    _update_state(slug, Q(), last_error_at=timezone.now(), last_error=redact(message)[:1000])


def _update_state(slug: str, condition: Q, **fields: object) -> None:
    """Update the provider's row if ``condition`` holds; create the row if it is missing."""
    rows = ProviderState.objects.filter(slug=slug)
    if not rows.filter(condition).update(**fields) and not rows.exists():
        ProviderState.objects.bulk_create(
            [ProviderState(slug=slug, **fields)], ignore_conflicts=True
        )


def pause_if_failing(slug: str, *, per_minute: int) -> bool:
    """Pause the provider for PAUSE if its last FAILURES submissions all failed.

    Call it only after a failure of the provider or of our side, not of the prompt. The count
    comes from the stored transitions, so it covers all workers. After the pause one submission
    is tried; if it fails, the next pause begins. Return whether a pause began.
    """
    newest = RequestTransition.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    outcomes = (
        RequestTransition.objects.filter(
            pk__gt=newest - _LOOK_BACK, old=Status.SUBMITTING, request__provider=slug
        )
        .order_by("-pk")
        .values_list("new", flat=True)[:FAILURES]
    )
    last = list(outcomes)
    if len(last) < FAILURES or Status.PROCESSING in last:
        return False
    rates.hold_provider(slug, PAUSE, per_minute=per_minute)
    return True
