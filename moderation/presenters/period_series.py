"""Counts by hour, day or week, read once and arranged as series for charts.

A period that was not counted has None, not zero.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

from django.utils import timezone

from moderation.models import CountProgress, Measure, PeriodCount
from moderation.models.period_counts import CountProgress as Progress
from moderation.presenters.charts import Step, TimeAxis
from moderation.services import period_counts
from moderation.services.period_counts import floor_day, floor_hour

Matches = Callable[[str], bool]
Values = list[float | None]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time up to now, in periods of one length."""

    slug: str
    label: str
    step: Step
    periods: int

    @property
    def length(self) -> timedelta:
        """Return the length of one period."""
        days = {Step.HOUR: timedelta(hours=1), Step.DAY: timedelta(days=1)}
        return days.get(self.step, timedelta(weeks=1))

    def find_first(self, now: datetime) -> datetime:
        """Return the start of the first period. Weeks begin on Monday."""
        if self.step == Step.HOUR:
            last = floor_hour(now)
        else:
            last = floor_day(now)
            if self.step == Step.WEEK:
                last -= timedelta(days=last.weekday())
        return last - (self.periods - 1) * self.length


SPANS: Final = {
    span.slug: span
    for span in (
        Span("24h", "24 hours", Step.HOUR, 24),
        Span("14d", "14 days", Step.DAY, 14),
        Span("12w", "12 weeks", Step.WEEK, 12),
    )
}
SPAN_DEFAULT: Final = "14d"
STREAMS: Final = {
    Measure.ARRIVALS: Progress.Stream.ARRIVALS,
    Measure.DECISIONS: Progress.Stream.DECISIONS,
    Measure.REVERSALS: Progress.Stream.DECISIONS,
    Measure.OPINIONS: Progress.Stream.DECISIONS,
    Measure.AUDITS: Progress.Stream.DECISIONS,
    Measure.QUEUE: Progress.Stream.QUEUE,
    Measure.AGE: Progress.Stream.QUEUE,
    Measure.CALLS: Progress.Stream.CALLS,
    Measure.LATENCY: Progress.Stream.CALLS,
    Measure.SPEND: Progress.Stream.CALLS,
    Measure.JOBS: Progress.Stream.CALLS,
}
# Of these, a period without any sample of the queue says nothing: no worker ran.
NEEDS_A_WORKER: Final = {
    *(Measure.QUEUE, Measure.AGE, Measure.CALLS, Measure.LATENCY, Measure.JOBS)
}


BEFORE: Final = -1  # index of the span before


def anything(part: str) -> bool:
    return True


class PeriodSeries:
    """The counts of a span and of the span before it, read with two queries."""

    def __init__(
        self,
        span: Span,
        *,
        now: datetime | None = None,
        measures: Collection[Measure] = tuple(Measure),
    ) -> None:
        self.span, self.now = span, now or timezone.now()
        first = span.find_first(self.now)
        self.starts = [first + index * span.length for index in range(span.periods)]
        self.axis = TimeAxis(self.starts, span.step)
        # By measure and part: by index of the period; BEFORE is the whole span before.
        self._rows: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(dict)
        step = PeriodCount.Step.HOUR if span.step == Step.HOUR else PeriodCount.Step.DAY
        starts = [first - span.periods * span.length, *self.starts]
        wanted = {*measures, Measure.AGE}  # its samples tell whether a worker ran
        for row in period_counts.sum_counts(step, starts, wanted):
            self._rows[row["measure"], row["part"]][BEFORE + row["index"]] = [
                row["count_sum"],
                row["total_sum"],
                row["highest"],
            ]
        self._progress = {row.stream: row for row in CountProgress.objects.all()}

    def is_counted(self, measure: Measure, index: int) -> bool:
        """Return whether a period is counted; for BEFORE, whether the span before is."""
        start = self.starts[0] + (index if index >= 0 else -self.span.periods) * self.span.length
        progress = self._progress.get(STREAMS[measure])
        if progress is None or not progress.covers(start, start + self.span.length):
            return False
        if measure not in NEEDS_A_WORKER:
            return True
        return index in self._rows.get((Measure.AGE, "oldest"), {})

    def list_parts(self, measure: Measure) -> list[str]:
        """Return the parts of a measure that have counts in this span, in order."""
        return sorted(
            part
            for (name, part), rows in self._rows.items()
            if name == measure and any(index != BEFORE for index in rows)
        )

    def count(self, measure: Measure, matches: Matches = anything) -> Values:
        """Return the number of events in each period."""
        return self._sum(measure, matches, 0)

    def add_up(self, measure: Measure, matches: Matches = anything) -> Values:
        """Return the sum of the values in each period."""
        return self._sum(measure, matches, 1)

    def average(self, measure: Measure, part: str) -> Values:
        """Return the mean value in each period."""
        pairs = zip(
            self._sum(measure, part.__eq__, 1), self._sum(measure, part.__eq__, 0), strict=True
        )
        return [total / n if total is not None and n else None for total, n in pairs]

    def find_peaks(self, measure: Measure, part: str) -> Values:
        """Return the highest value in each period."""
        rows = self._rows.get((measure, part), {})
        return [rows[index][2] if index in rows else None for index in range(self.span.periods)]

    def count_before(self, measure: Measure, matches: Matches = anything) -> float | None:
        """Return the number of events in the span before; None if a part of it is not counted."""
        return self._sum_before(measure, matches, 0)

    def add_up_before(self, measure: Measure, matches: Matches = anything) -> float | None:
        """Return the sum of the values in the span before, likewise."""
        return self._sum_before(measure, matches, 1)

    def _sum_before(self, measure: Measure, matches: Matches, column: int) -> float | None:
        if not self.is_counted(measure, BEFORE):
            return None
        return sum(
            rows[BEFORE][column] for rows in self._select(measure, matches) if BEFORE in rows
        )

    def _select(self, measure: Measure, matches: Matches) -> list[dict[int, list[float]]]:
        return [
            rows for (name, part), rows in self._rows.items() if name == measure and matches(part)
        ]

    def _sum(self, measure: Measure, matches: Matches, column: int) -> Values:
        selected = self._select(measure, matches)
        empty = [0, 0.0, 0.0]
        return [
            sum(rows.get(index, empty)[column] for rows in selected)
            if self.is_counted(measure, index)
            else None
            for index in range(self.span.periods)
        ]

    def list_classes(self, service: str, index: int) -> list[tuple[str, int]]:
        """Return the answered calls of a service in a period, by upper bound of their duration."""
        return [
            (bound, int(rows[index][0]))
            for bound, rows in self._latencies[service]
            if index in rows
        ]

    @cached_property
    def _latencies(self) -> dict[str, list[tuple[str, dict[int, list[float]]]]]:
        """Return the rows of answered calls by service, each with its upper bound."""
        found = defaultdict(list)
        for (name, part), rows in self._rows.items():
            if name == Measure.LATENCY:
                service, _, bound = part.rpartition(":")
                found[service].append((bound, rows))
        return found


def sum_known(values: Iterable[float | None]) -> float:
    """Return the sum of the values that are known."""
    return sum(value for value in values if value is not None)


def divide(parts: Sequence[float | None], wholes: Sequence[float | None]) -> Values:
    """Return the share of each period; None without a whole."""
    return [
        part / whole if part is not None and whole else None
        for part, whole in zip(parts, wholes, strict=True)
    ]
