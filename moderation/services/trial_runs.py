"""Background runs of policy trials and prompt trials: leases, stored steps, cancellation.

A step commits its counts with its position, so a killed worker repeats at most one step.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, Protocol, TypeVar

from django.utils import timezone

from generation.core.db.state_machine import DueQuerySet
from moderation.models.trials import Trial

log = logging.getLogger("loupe.trials")
Status = Trial.Status

LEASE: Final = timedelta(minutes=2)
ATTEMPTS_MAX: Final = 3  # runs that ended without a stored step

T = TypeVar("T", bound=Trial)


class Replay(Protocol):
    """The computation of a trial over the rows of its window, by primary key."""

    @property
    def last(self) -> int:
        """The primary key of the window's last row."""

    def take_step(self, cursor: int) -> int:
        """Count the next rows after a primary key; return the last one that is counted."""

    def build_progress(self) -> dict[str, Any]:
        """Return the trial's columns that hold the counts so far."""

    def build_figures(self) -> dict[str, Any]:
        """Return the figures of the counts."""


def cancel(trial: Trial) -> None:
    """End a running trial without a result. Raises InvalidTransitionError if it has ended."""
    now = timezone.now()
    trial.move_to(Status.CANCELLED, due_at=None, lease=None, finished_at=now, counts={})


def run_due(
    rows: DueQuerySet[T], resume: Callable[[T], Replay], *, go_on: Callable[[], bool]
) -> None:
    """Continue the trials that are due. ``resume`` returns a trial's replay with its counts."""
    while go_on():
        claimed = rows.claim(limit=1, lease=LEASE, count_attempt=True)
        if not claimed:
            return
        (trial,) = claimed
        if trial.attempts > ATTEMPTS_MAX:
            _fail(trial)
        else:
            held = rows.filter(pk=trial.pk, lease=trial.lease, status=Status.RUNNING)
            _continue(held, trial.cursor, resume(trial), go_on)


def _continue(held: DueQuerySet[T], cursor: int, replay: Replay, go_on: Callable[[], bool]) -> None:
    """Count in steps while ``held`` has the trial: until a cancellation, or another worker."""
    while cursor < replay.last:
        cursor = replay.take_step(cursor)
        progress = {"cursor": cursor, "attempts": 0, "due_at": timezone.now() + LEASE}
        if not held.update(**progress, **replay.build_progress()):
            return
        if not go_on():
            held.update(due_at=timezone.now(), lease=None)
            return
    ended = {"due_at": None, "lease": None, "finished_at": timezone.now()}
    held.update(
        **replay.build_progress()
        | {"status": Status.FINISHED, "result": replay.build_figures(), "counts": {}}
        | ended
    )


def _fail(trial: Trial) -> None:
    log.error("%s %s was given up after %d runs", type(trial).__name__, trial.uuid, trial.attempts)
    trial.move_to(
        Status.FAILED,
        where={"lease": trial.lease},
        due_at=None,
        lease=None,
        finished_at=timezone.now(),
        counts={},
        error="It was interrupted again and again. Try it on fewer days.",
    )
