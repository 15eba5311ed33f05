"""Prompt trials: a draft rule of words, replayed over past requests.

A trial reads the requests of the last days in steps, by primary key, and stores counts only. It
changes and blocks nothing: Loupe does not check prompts before it submits a request.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Self

from django.db.models import Count, Max, Min
from django.utils import timezone

from generation import jobs
from generation.models import GenerationRequest
from moderation.models import PromptTrial
from moderation.prompt_rules import PromptRule, parse_rule
from moderation.services import trial_runs
from moderation.services.prompt_trial_counts import AT_ONCE, PromptTally, build_figures

if TYPE_CHECKING:
    from django.contrib.auth.models import User

Status = PromptTrial.Status

DAYS: Final = (7, 30, 90)
DAYS_MAX: Final = 365
SAMPLED: Final = 1_500  # requests of a sample
STEP: Final = 5_000  # requests between two stored positions
RUNNING_MAX: Final = 3  # trials at the same time


class PromptTrialError(Exception):
    """A trial that cannot be started. ``str(error)`` is a message for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptPlan:
    """The rule and the window of a trial."""

    rule: PromptRule
    days: int
    since: datetime
    first: int  # primary key before the first request of the window
    last: int
    expected: int  # requests in the window

    @classmethod
    def of(cls, rule: PromptRule, days: int) -> Self:
        """Plan a trial on the requests of the last days. Raises PromptTrialError."""
        if not 1 <= days <= DAYS_MAX:
            raise PromptTrialError(f"Choose 1 to {DAYS_MAX} days.")
        since = timezone.now() - timedelta(days=days)
        rows = GenerationRequest.objects.filter(created_at__gte=since)
        ends = rows.aggregate(first=Min("pk"), last=Max("pk"), n=Count("pk"))
        if ends["last"] is None:
            raise PromptTrialError(f"There are no requests of the last {days} days to try it on.")
        return cls(
            rule=rule,
            days=days,
            since=since,
            first=ends["first"] - 1,
            last=ends["last"],
            expected=ends["n"],
        )


class PromptReplay:
    """The computation of a trial: reads requests and counts them."""

    def __init__(self, plan: PromptPlan, counts: dict[str, Any] | None = None) -> None:
        self.plan = plan
        self.tally = PromptTally(plan.rule, counts)
        self._rows = GenerationRequest.objects.filter(created_at__gte=plan.since, pk__lte=plan.last)

    @property
    def last(self) -> int:
        return self.plan.last

    @property
    def requests(self) -> int:
        return int(self.tally.counts["requests"])

    def take_step(self, cursor: int) -> int:
        """Count the next requests after a primary key; return the last one, or the end."""
        for _ in range(STEP // AT_ONCE):
            last = self.tally.count(self._rows.filter(pk__gt=cursor))
            if not last:
                return self.plan.last
            cursor = last
        return cursor

    def count_sample(self) -> None:
        """Count requests drawn at random: all of them if there are few."""
        keys: Any = range(self.plan.first + 1, self.plan.last + 1)
        if len(keys) > SAMPLED:
            # By the window, so that a second trial of the same requests draws the same ones.
            keys = sorted(random.Random(self.plan.last).sample(keys, SAMPLED))
        for start in range(0, len(keys), AT_ONCE):
            self.tally.count(self._rows.filter(pk__in=keys[start : start + AT_ONCE]))

    def build_progress(self) -> dict[str, Any]:
        return {"counts": self.tally.counts, "requests": self.requests}

    def build_figures(self, expected: int | None = None) -> dict[str, Any]:
        return build_figures(
            self.tally.counts,
            self.plan.rule,
            days=self.plan.days,
            since=self.plan.since,
            expected=self.requests if expected is None else expected,
        )


def compute(plan: PromptPlan, *, only_sample: bool = False) -> dict[str, Any]:
    """Return the figures of a trial, computed at once."""
    replay = PromptReplay(plan)
    if only_sample:
        replay.count_sample()
        return replay.build_figures(plan.expected)
    cursor = plan.first
    while cursor < plan.last:
        cursor = replay.take_step(cursor)
    return replay.build_figures()


# --- Trials that are stored ---
def start(*, rule: str, allowed: str, days: int, user: User | None) -> PromptTrial:
    """Compute a sample, and store a trial for the job.

    Raises PromptRuleError and PromptTrialError.
    """
    if PromptTrial.objects.filter(status=Status.RUNNING).count() >= RUNNING_MAX:
        raise PromptTrialError(
            f"{RUNNING_MAX} trials are running. Wait for one of them, or cancel it."
        )
    plan = PromptPlan.of(parse_rule(rule, allowed), days)
    trial = PromptTrial.objects.create(
        rule=rule,
        allowed=allowed,
        days=days,
        since=plan.since,
        last=plan.last,
        cursor=plan.first,
        expected=plan.expected,
        sample=compute(plan, only_sample=True),
        started_by=user,
        due_at=timezone.now(),
    )
    jobs.wake("prompt_trial")
    return trial


def run_due(*, go_on: Callable[[], bool]) -> None:
    """Continue the trials that are due."""
    trial_runs.run_due(PromptTrial.objects.all(), _resume, go_on=go_on)


def _resume(trial: PromptTrial) -> PromptReplay:
    plan = PromptPlan(
        rule=parse_rule(trial.rule, trial.allowed),
        days=trial.days,
        since=trial.since,
        first=trial.cursor,
        last=trial.last,
        expected=trial.expected,
    )
    return PromptReplay(plan, trial.counts)
