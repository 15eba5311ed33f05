"""How a provider fares: its last success and error, and leaving it alone while it keeps failing."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import F, Q
from django.utils import timezone

from generation.models import GenerationRequest, ProviderState, RequestTransition
from generation.services import rates
from generation.wire.secrets import redact

Status = GenerationRequest.Status

SUCCESS_EVERY = timedelta(
    seconds=10
)  # a busy provider succeeds all the time; one write in a while says the same
FAILURES = 5
PAUSE = timedelta(minutes=1)
_LOOK_BACK = 500  # transitions; older ones say nothing about now


def succeeded(slug: str) -> None:
    """The provider answered as it should, if only to refuse a bad prompt."""
    now = timezone.now()
    stale = Q(last_success_at=None) | Q(last_success_at__lt=now - SUCCESS_EVERY)
    worse = Q(last_error_at__gt=F("last_success_at"))
    _write(slug, Q(stale | worse), last_success_at=now)


def failed(slug: str, sentence: str) -> None:
    """The provider could not be used. ``sentence`` is shown to operators."""
    _write(slug, Q(), last_error_at=timezone.now(), last_error=redact(sentence)[:1000])


def _write(slug: str, condition: Q, **fields: object) -> None:
    rows = ProviderState.objects.filter(slug=slug)
    if not rows.filter(condition).update(**fields) and not rows.exists():
        ProviderState.objects.bulk_create(
            [ProviderState(slug=slug, **fields)], ignore_conflicts=True
        )


def pause_if_failing(slug: str, *, per_minute: int) -> bool:
    """After FAILURES submissions in a row that were not accepted: leave the provider alone for
    PAUSE.

    Called only when a submission failed through the provider's or our own fault. Read from the
    trace of states, so that all workers count together. Once the pause is over a single submission
    is tried; if it fails, the next pause begins.
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
    rates.hold(slug, PAUSE, per_minute=per_minute)
    return True
