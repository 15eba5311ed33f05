"""Run classifiers over the network: several images per call, with backoff and costs.

An image is tried up to ATTEMPTS times with growing delays, about 15 minutes in total; after that it
goes to a person. Attempts are counted when rows are claimed, before anything is sent; attempts that
were not sent are subtracted again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta

from django.db.models import F
from django.utils import timezone

from generation.core.backoff import Backoff
from generation.core.db.state_machine import DueQuerySet
from generation.services import health
from moderation.classifiers.base import (
    Assessment,
    ClassifierError,
    RemoteClassifier,
    ServiceBusyError,
)
from moderation.models import Classification
from moderation.services import classification

ATTEMPTS = 9
BACKOFF = Backoff(base=5, cap=300)
# Total of all delays; a service that asks for a longer wait counts as failed.
PATIENCE = timedelta(minutes=15)
# Time until a dead worker's rows are claimable again. Longer than any one call, and renewed before
# each.
LEASE = timedelta(seconds=90)
Rows = dict[int, Classification]  # by asset


def classify_batch(
    *,
    classifier: RemoteClassifier,
    rows: Sequence[Classification],
    go_on: Callable[[], bool] = lambda: True,
) -> None:
    """Run claimed classifications of one classifier.

    ``go_on`` is checked before every call but the first.
    """
    left: Rows = {row.asset_id: row for row in rows if not _give_up_exhausted(row)}
    started = time.monotonic()
    for outcomes in classifier.classify_many([row.asset for row in left.values()]):
        elapsed = round(1000 * (time.monotonic() - started))
        for asset, outcome in outcomes:
            _store_outcome(left.pop(asset.pk), outcome, elapsed)
        _record_health(classifier.slug, [outcome for _, outcome in outcomes])
        down = [busy for _, busy in outcomes if isinstance(busy, ServiceBusyError) and busy.down]
        if down:
            _postpone_others(classifier.slug, down[0], left)
            return
        if left and not go_on():
            _release(left)
            return
        _renew_leases(left)
        started = time.monotonic()


def _record_health(slug: str, outcomes: Sequence[Assessment | ClassifierError]) -> None:
    """Record the outcome of a call for the pages Today and Providers.

    The classifications alone do not suffice: without an index, only the newest are read.
    """
    busy = [outcome for outcome in outcomes if isinstance(outcome, ServiceBusyError)]
    if any(isinstance(outcome, Assessment) for outcome in outcomes):
        health.record_success(slug)
    elif busy:
        health.record_failure(slug, str(busy[-1]))


def _give_up_exhausted(row: Classification) -> bool:
    """Give up a row that was claimed too often; return whether it was."""
    if row.attempts <= ATTEMPTS:
        return False
    message = "The classifier crashed its worker or did not finish, several times on this image."
    classification.give_up(
        row, _final_message(row.error, row.attempts - 1) if row.error else message
    )
    return True


def _final_message(message: str, attempts: int) -> str:
    return f"{message} It was asked {attempts} times."


def _store_outcome(
    row: Classification, outcome: Assessment | ClassifierError, duration_ms: int
) -> None:
    """Store the outcome for one image."""
    if isinstance(outcome, Assessment):
        classification.store_result(row, outcome, duration_ms=duration_ms)
    elif not isinstance(outcome, ServiceBusyError):
        classification.handle_error(row, outcome)
    elif outcome.wait > PATIENCE:
        classification.give_up(row, str(outcome), cost=outcome.cost)
    elif row.attempts >= ATTEMPTS:
        classification.give_up(row, _final_message(str(outcome), row.attempts), cost=outcome.cost)
    else:
        wait = max(BACKOFF.delay(row.attempts - 1), outcome.wait)
        classification.retry_later(row, str(outcome), after=wait, cost=outcome.cost)


def _postpone_others(slug: str, busy: ServiceBusyError, held: Rows) -> None:
    """Delay all images of an unavailable service, each as if it had just been tried.

    Rows without attempts left stay due, so that the next claim gives them up.
    """
    if busy.wait > PATIENCE:
        _release(held)  # each fails quickly on its own call and goes to a person now
        return
    now = timezone.now()
    queued = Classification.objects.filter(classifier=slug, status=Classification.Status.QUEUED)
    for attempts in range(1, ATTEMPTS + 1):
        wait = max(BACKOFF.delay(attempts - 1), busy.wait)
        changes = {"due_at": now + wait, "error": str(busy)}
        # Claimed rows were counted when they were claimed.
        _held_rows(held.values()).filter(attempts=attempts).update(**changes)
        queued.due().filter(attempts=attempts - 1).exclude(pk__in=_pks(held.values())).update(
            **changes, attempts=attempts
        )


def _renew_leases(rows: Rows) -> None:
    if rows:
        _held_rows(rows.values()).update(due_at=timezone.now() + LEASE)


def _release(rows: Rows) -> None:
    _held_rows(rows.values()).update(due_at=timezone.now(), attempts=F("attempts") - 1)


def _held_rows(rows: Collection[Classification]) -> DueQuerySet[Classification]:
    """Return the rows whose lease is still ours."""
    leases = {row.lease for row in rows}
    return Classification.objects.filter(
        pk__in=_pks(rows), lease__in=leases, status=Classification.Status.QUEUED
    )


def _pks(rows: Collection[Classification]) -> list[int]:
    return [row.pk for row in rows]
