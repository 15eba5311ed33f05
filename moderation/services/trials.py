"""Trials of policies: a draft replayed over the stored results of past images.

A trial compares a candidate with a baseline, both recomputed, and with what stands. It reads the
images of the last days in steps, by primary key, and stores counts only. It changes no review. The
bounds of earned trust, matches of known images and results of classifiers are those of now.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Self

from django.db.models import Max, Min
from django.utils import timezone

from generation import jobs
from moderation.models import Policy, PolicyTrial, Review, TrialJudgement
from moderation.services import trial_figures, trial_runs
from moderation.services.policy_snapshots import Snapshot, read_snapshot, take_snapshot
from moderation.services.trial_counts import Tally
from moderation.services.trial_evidence import Judge, Part, Reader
from moderation.services.truth import map_watched

if TYPE_CHECKING:
    from django.contrib.auth.models import User

Status = PolicyTrial.Status

DAYS: Final = (7, 30, 90)
DAYS_MAX: Final = 365
SAMPLED: Final = 1_500  # images of a sample: well below a second
READ_AT_ONCE: Final = 5_000  # images in memory
CHOSEN_AT_ONCE: Final = 500  # SQLite accepts about 1,000 values in a statement
STEP: Final = 10_000  # images between two stored positions: about a second


class TrialError(Exception):
    """A trial that cannot be started. ``str(error)`` is a message for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The policies and the window of a trial."""

    candidate: Snapshot
    baseline: Snapshot
    days: int
    span: float  # days since the oldest image of the window
    since: datetime
    first: int  # primary key before the first review of the window
    last: int
    expected: int  # reviews in the window

    @classmethod
    def of(cls, *, candidate: Policy, baseline: Policy, days: int) -> Self:
        """Plan a trial on the images of the last days. Raises TrialError."""
        if not 1 <= days <= DAYS_MAX:
            raise TrialError(f"Choose 1 to {DAYS_MAX} days.")
        since = timezone.now() - timedelta(days=days)
        rows = Review.objects.filter(created_at__gte=since)
        ends = rows.aggregate(first=Min("pk"), last=Max("pk"), oldest=Min("created_at"))
        if ends["last"] is None:
            raise TrialError(f"There are no images of the last {days} days to try it on.")
        return cls(
            candidate=take_snapshot(candidate),
            baseline=take_snapshot(baseline),
            days=days,
            span=max((timezone.now() - ends["oldest"]) / timedelta(days=1), 1.0),
            since=since,
            first=ends["first"] - 1,
            last=ends["last"],
            expected=rows.count(),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "candidate": self.candidate,
            "baseline": self.baseline,
            "days": self.days,
            "span": self.span,
            "since": self.since.isoformat(),
            "first": self.first,
            "last": self.last,
            "expected": self.expected,
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        return cls(**{**stored, "since": datetime.fromisoformat(stored["since"])})


class Replay:
    """The computation of a trial: reads images and counts them."""

    def __init__(self, plan: Plan, counts: dict[str, Any] | None = None) -> None:
        policies = [read_snapshot(plan.baseline), read_snapshot(plan.candidate)]
        self.plan = plan
        self.tally = Tally(counts)
        self.is_sample = False
        self._reader = Reader(policies, map_watched(), since=plan.since)
        self._baseline, self._candidate = (Judge(policy) for policy in policies)

    @property
    def last(self) -> int:
        return self.plan.last

    def count(self, part: Part) -> None:
        """Count the reviews of one part."""
        self.tally.add(self._reader.read(part), self._baseline, self._candidate)

    def take_step(self, cursor: int) -> int:
        """Count the next reviews after a primary key; return the last one that is counted."""
        end = min(cursor + STEP, self.plan.last)
        while cursor < end:
            until = min(cursor + READ_AT_ONCE, end)
            self.count(Part(after=cursor, until=until))
            cursor = until
        return cursor

    def count_sample(self) -> None:
        """Count images drawn at random: all of them if there are few."""
        drawn = self._draw()
        self.is_sample = len(drawn) < self.plan.last - self.plan.first
        for chosen in _split(drawn):
            self.count(Part(chosen=tuple(chosen)))

    def _draw(self) -> list[int]:
        keys = range(self.plan.first + 1, self.plan.last + 1)
        if len(keys) <= SAMPLED:
            return list(keys)
        # By the window, so that a second trial of the same images draws the same ones.
        return sorted(random.Random(self.plan.last).sample(keys, SAMPLED))

    def build_progress(self) -> dict[str, Any]:
        return {"counts": self.tally.to_json(), "images": self.tally.images}

    def build_figures(self) -> dict[str, Any]:
        return trial_figures.build_figures(
            self.tally.to_json(),
            days=self.plan.days,
            span=self.plan.span,
            expected=self.plan.expected if self.is_sample else self.tally.images,
        )


def _split(keys: Sequence[int]) -> list[Sequence[int]]:
    return [keys[start : start + CHOSEN_AT_ONCE] for start in range(0, len(keys), CHOSEN_AT_ONCE)]


def compute(
    plan: Plan, *, only_sample: bool = False, report: Callable[[int], object] | None = None
) -> dict[str, Any]:
    """Return the figures of a trial, computed at once. ``report`` is told the images so far."""
    replay = Replay(plan)
    if only_sample:
        replay.count_sample()
        return replay.build_figures()
    cursor = plan.first
    while cursor < plan.last:
        cursor = replay.take_step(cursor)
        if report:
            report(replay.tally.images)
    return replay.build_figures()


# --- Trials that are stored ---
def start(*, candidate: Policy, baseline: Policy, days: int, user: User | None) -> PolicyTrial:
    """Compute a sample, and store a trial for the job. Raises TrialError."""
    running = PolicyTrial.objects.filter(candidate=candidate, status=Status.RUNNING)
    if running.exists():
        raise TrialError("A trial of this version is running. Cancel it to start another one.")
    plan = Plan.of(candidate=candidate, baseline=baseline, days=days)
    trial = PolicyTrial.objects.create(
        candidate=candidate,
        baseline=baseline,
        days=days,
        plan=plan.to_json(),
        cursor=plan.first,
        expected=plan.expected,
        sample=compute(plan, only_sample=True),
        started_by=user,
        due_at=timezone.now(),
    )
    jobs.wake("trial")
    return trial


def run_due(*, go_on: Callable[[], bool]) -> None:
    """Continue the trials that are due."""
    trial_runs.run_due(PolicyTrial.objects.all(), _resume, go_on=go_on)


def _resume(trial: PolicyTrial) -> Replay:
    return Replay(Plan.from_json(trial.plan), trial.counts)


# --- Judgements ---
def judge(
    *, trial: PolicyTrial, review: Review, cell: str, answer: str, user: User
) -> TrialJudgement:
    """Store a person's answer to one change, or replace it. The review does not change.

    Raises TrialError.
    """
    if answer not in TrialJudgement.Answer.values:
        raise TrialError("Answer right, wrong or unsure.")
    if review.pk not in find_kept(trial).get(cell, ()):
        raise TrialError("This image is not among the images of this trial.")
    row, _ = TrialJudgement.objects.update_or_create(
        trial=trial,
        review=review,
        person=user,
        defaults={"cell": cell, "answer": answer, "created_at": timezone.now()},
    )
    return row


def find_kept(trial: PolicyTrial) -> dict[str, list[int]]:
    """Return the reviews that are kept of each cell: of the result, or else of the sample."""
    document = trial.result or trial.sample
    kept: dict[str, list[int]] = document.get("kept", {})
    return kept
