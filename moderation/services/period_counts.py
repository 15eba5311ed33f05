"""Count arrivals, decisions, calls and the queue: by hour, by day, and since the installation.

Each stream has a row with its position. The counts of a batch and the new position are committed
together under a lock on that row: every row is counted exactly once, with any number of workers and
after crashes. A row counts in the period of its own timestamp, so counting late changes nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import models, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from generation.models import ServiceCall
from moderation.models import (
    CountProgress,
    Decision,
    Measure,
    PeriodCount,
    Review,
    RunningTotal,
    Verdict,
)
from moderation.models.decisions import STATUS_AFTER
from moderation.services import costs
from moderation.services.running_totals import Totals

Step = PeriodCount.Step
Stream = CountProgress.Stream

BATCH: Final = 500
INTERVAL: Final = timedelta(minutes=1)
SAMPLE_INTERVAL: Final = timedelta(minutes=5)
LEASE: Final = timedelta(minutes=2)
# A transaction may commit a row after another one with a higher id. None is open this long.
SETTLED_AFTER: Final = timedelta(minutes=2)
# The first run counts this much of the past.
PAST: Final = timedelta(days=84)
HOURS_KEPT: Final = timedelta(days=35)
DAYS_KEPT: Final = timedelta(days=800)
QUEUE_MAX: Final = 100_000  # a sample counts no further
# Upper bounds of the classes of durations, in seconds.
BOUNDS: Final = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0)
BEYOND: Final = "more"
# Kinds of calls whose durations Insights shows.
INSIGHT_KINDS: Final = (ServiceCall.Kind.SUBMIT, ServiceCall.Kind.CLASSIFY)

Key = tuple[Measure, str]  # measure, part


@dataclass(slots=True)
class Sum:
    """The difference added to one count."""

    count: int = 0
    total: float = 0.0
    peak: float = 0.0


class Sums:
    """Differences added to the counts of several periods."""

    def __init__(self) -> None:
        self._sums: defaultdict[tuple[str, datetime, str, str], Sum] = defaultdict(Sum)

    def add(
        self, at: datetime, measure: Measure, part: str, count: int = 1, total: float = 0.0
    ) -> None:
        """Add events to the hour and the day of a timestamp."""
        for step, start in ((Step.HOUR, floor_hour(at)), (Step.DAY, floor_day(at))):
            found = self._sums[step, start, measure, part]
            found.count += count
            found.total += total
            found.peak = max(found.peak, total)

    def store(self) -> None:
        """Add everything to the stored counts. Runs under the lock of the stream."""
        starts = {start for _, start, _, _ in self._sums}
        measures = {measure for _, _, measure, _ in self._sums}
        rows = PeriodCount.objects.filter(start__in=starts, measure__in=measures)
        known = {(row.step, row.start, row.measure, row.part): row for row in rows}
        changed = []
        for (step, start, measure, part), added in self._sums.items():
            row = known.get((step, start, measure, part)) or PeriodCount(
                step=step, start=start, measure=measure, part=part
            )
            row.count += added.count
            row.total += added.total
            row.peak = max(row.peak, added.peak)
            changed.append(row)
        PeriodCount.objects.bulk_create(
            changed,
            update_conflicts=True,
            unique_fields=["step", "start", "measure", "part"],
            update_fields=["count", "total", "peak"],
            batch_size=100,
        )


def floor_hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def floor_day(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


# --- The job ---
def add_streams() -> None:
    """Create missing rows of streams when a worker starts. A stream runs only if it has a row."""
    now = timezone.now()
    CountProgress.objects.bulk_create(
        [CountProgress(stream=stream, due_at=now) for stream in Stream], ignore_conflicts=True
    )


def run_due(*, go_on: Callable[[], bool]) -> None:
    """Count the streams that are due."""
    while go_on():
        claimed = CountProgress.objects.claim(limit=1, lease=LEASE)
        if not claimed:
            return
        stream = Stream(claimed[0].stream)
        while count_batch(stream) and go_on():
            pass
        wait = SAMPLE_INTERVAL if stream == Stream.QUEUE else INTERVAL
        CountProgress.objects.filter(pk=claimed[0].pk, lease=claimed[0].lease).update(
            due_at=timezone.now() + wait, lease=None
        )


@transaction.atomic
def count_batch(stream: Stream) -> bool:
    """Count the next rows of a stream; return whether more may wait."""
    # A concurrent worker waits here and then counts the next batch.
    progress = CountProgress.objects.select_for_update().get(stream=stream)
    counted = _COUNTERS[stream](progress)
    progress.save(update_fields=["position", "began_at", "counted_until"])
    return counted == BATCH


def _count_arrivals(progress: CountProgress) -> int:
    now = timezone.now()
    if progress.began_at is None:
        progress.began_at = floor_hour(now - PAST)
        before = Review.objects.filter(created_at__lt=progress.began_at).order_by("-created_at")
        progress.position = before.values_list("pk", flat=True).first() or 0
    settled = now - SETTLED_AFTER
    rows = Review.objects.filter(pk__gt=progress.position).order_by("pk")
    batch: list[tuple[int, datetime, str]] = []
    for row in rows.values_list("pk", "created_at", "source")[:BATCH]:
        if row[1] > settled:
            break
        batch.append(row)
    sums, totals = Sums(), Totals()
    for _, created_at, source in batch:
        sums.add(created_at, Measure.ARRIVALS, source)
        totals.add(RunningTotal.Measure.ARRIVALS, source)
    sums.store()
    totals.store()
    if batch:
        progress.position = batch[-1][0]
    progress.counted_until = batch[-1][1] if len(batch) == BATCH else settled
    return len(batch)


def _count_decisions(progress: CountProgress) -> int:
    now = timezone.now()
    if progress.began_at is None:
        progress.began_at = floor_hour(now - PAST)
        before = Decision.objects.filter(created_at__lt=progress.began_at)
        newest = before.order_by("-created_at", "-sequence").values_list("sequence", flat=True)
        progress.position = newest.first() or 0
    rows = Decision.objects.filter(sequence__gt=progress.position).order_by("sequence")
    related = ("second_of", "reverses__second_of")
    batch = list(rows.select_related(*related)[:BATCH])
    sums, totals = Sums(), Totals()
    for decision in batch:
        _add_decision(sums, decision, since=progress.began_at)
        totals.add(*_name_total(decision))
    sums.store()
    totals.store()
    if batch:
        progress.position = batch[-1].sequence
    progress.counted_until = batch[-1].created_at if len(batch) == BATCH else now
    return len(batch)


def _add_decision(sums: Sums, decision: Decision, *, since: datetime) -> None:
    taken_back = decision.reverses
    if taken_back is None:
        measure, part = name_decision(decision)
        sums.add(decision.created_at, measure, part)
        return
    if taken_back.reviewer_id == decision.reviewer_id or taken_back.second_of is not None:
        # An undo removes the decision from its period, unless that was never counted.
        if taken_back.created_at >= since:
            measure, part = name_decision(taken_back)
            sums.add(taken_back.created_at, measure, part, count=-1)
        return
    author = "policy" if taken_back.by_policy else "people"
    sums.add(decision.created_at, Measure.REVERSALS, author)


def name_decision(decision: Decision) -> Key:
    """Return the measure and the part that count a decision that reverses nothing."""
    verdict = _name_verdict(decision)
    first = decision.second_of
    if first is None:
        return Measure.DECISIONS, f"{'policy' if decision.by_policy else 'people'}:{verdict}"
    measure = Measure.AUDITS if first.by_policy else Measure.OPINIONS
    return measure, f"{_name_verdict(first)}:{verdict}"


def _name_total(decision: Decision) -> tuple[RunningTotal.Measure, str]:
    """Return the running total that counts a decision. An undo counts as a reversal."""
    totals = RunningTotal.Measure
    if (taken_back := decision.reverses) is not None:
        return totals.REVERSALS, _name_origin(taken_back)
    if (first := decision.second_of) is not None:
        agrees = _name_verdict(first) == _name_verdict(decision)
        return totals.OPINIONS, f"{_name_origin(first)}:{'agree' if agrees else 'differ'}"
    return totals.DECISIONS, f"{_name_origin(decision)}:{_name_verdict(decision)}"


def _name_origin(decision: Decision) -> str:
    if decision.by_policy:
        return "policy"
    return "batch" if decision.batch else "person"


def _name_verdict(decision: Decision) -> str:
    if decision.is_blurred:
        return "blurred"
    return str(STATUS_AFTER[Verdict(decision.verdict)])


def _count_calls(progress: CountProgress) -> int:
    now = timezone.now()
    progress.began_at = progress.began_at or now
    batch = list(ServiceCall.objects.order_by("pk")[:BATCH])
    unbilled = costs.list_unbilled()
    sums, totals = Sums(), Totals()
    for call in batch:
        if call.kind == ServiceCall.Kind.JOB:
            _add_run(sums, totals, call)
        else:
            _add_call(sums, totals, call, unbilled)
    sums.store()
    totals.store()
    ServiceCall.objects.filter(pk__in=[call.pk for call in batch]).delete()
    progress.counted_until = batch[-1].created_at if len(batch) == BATCH else now
    return len(batch)


def _add_run(sums: Sums, totals: Totals, run: ServiceCall) -> None:
    """Count runs of a job, which are no calls of a service."""
    part, seconds = f"{run.service}:{run.outcome}", run.count * (run.milliseconds or 0) / 1000
    sums.add(run.created_at, Measure.JOBS, part, count=run.count, total=seconds)
    totals.add(RunningTotal.Measure.JOBS, part, count=run.count, total=seconds)


def _add_call(sums: Sums, totals: Totals, call: ServiceCall, unbilled: Collection[str]) -> None:
    for measure, part, count, total in _iter_call(call, unbilled):
        # Polls and downloads have totals of their latency only: Insights shows that of answers.
        if measure != Measure.LATENCY or call.kind in INSIGHT_KINDS:
            sums.add(call.created_at, measure, part, count=count, total=total)
        if measure == Measure.LATENCY:
            service, _, bound = part.rpartition(":")
            part = f"{service}:{call.kind}:{bound}"
        totals.add(RunningTotal.Measure(measure), part, count=count, total=total)


def _iter_call(
    call: ServiceCall, unbilled: Collection[str]
) -> Iterator[tuple[Measure, str, int, float]]:
    seconds = (call.milliseconds or 0) / 1000
    part = f"{call.service}:{call.kind}:{call.outcome}"
    yield Measure.CALLS, part, call.count, call.count * seconds
    # Some classifiers state a price and bill nothing, or bill it with the generation.
    is_unbilled = call.kind == ServiceCall.Kind.CLASSIFY and call.service in unbilled
    if call.cost and not is_unbilled:
        yield Measure.SPEND, call.service, call.count, float(call.cost)
    if call.milliseconds is not None and call.outcome == ServiceCall.Outcome.DONE:
        yield Measure.LATENCY, f"{call.service}:{find_bound(seconds)}", call.count, 0.0


def find_bound(seconds: float) -> str:
    """Return the upper bound of the class that a duration falls into."""
    index = bisect_left(BOUNDS, seconds)
    return f"{BOUNDS[index]:g}" if index < len(BOUNDS) else BEYOND


def _sample_queue(progress: CountProgress) -> int:
    now = timezone.now()
    progress.began_at = progress.began_at or now
    sums = Sums()
    for status in (Review.Status.PENDING, Review.Status.ESCALATED):
        rows = Review.objects.with_status(status)
        depth = rows.order_by().values("pk")[:QUEUE_MAX].count()
        sums.add(now, Measure.QUEUE, status, total=depth)
    oldest = Review.objects.waiting().order_by("pk").values_list("created_at", flat=True).first()
    minutes = (now - oldest).total_seconds() / 60 if oldest else 0.0
    sums.add(now, Measure.AGE, "oldest", total=minutes)
    sums.store()
    progress.counted_until = now
    return 0


_COUNTERS: Final[dict[Stream, Callable[[CountProgress], int]]] = {
    Stream.ARRIVALS: _count_arrivals,
    Stream.DECISIONS: _count_decisions,
    Stream.CALLS: _count_calls,
    Stream.QUEUE: _sample_queue,
}


def delete_old_counts(limit: int) -> int:
    """Delete up to ``limit`` counts that are older than they are kept; return their number."""
    now = timezone.now()
    old = Q(step=Step.HOUR, start__lt=now - HOURS_KEPT) | Q(
        step=Step.DAY, start__lt=now - DAYS_KEPT
    )
    pks = list(PeriodCount.objects.filter(old).values_list("pk", flat=True)[:limit])
    PeriodCount.objects.filter(pk__in=pks).delete()
    return len(pks)


# --- Reading ---
def estimate_quantile(counts: Iterable[tuple[str, int]], share: float) -> float | None:
    """Return the duration in seconds below which a share of the calls lies; None without calls.

    ``counts`` are calls by upper bound. The value is interpolated within its class, so it is off by
    at most the width of that class. The last class has no end: its lower bound is returned.
    """
    by_bound: dict[str, int] = defaultdict(int)
    for name, count in counts:
        by_bound[name] += count
    wanted = share * sum(by_bound.values())
    if wanted <= 0:
        return None
    reached, low = 0.0, 0.0
    for bound in BOUNDS:
        here = by_bound.get(f"{bound:g}", 0)
        if here and reached + here >= wanted:
            return low + (bound - low) * (wanted - reached) / here
        reached, low = reached + here, bound
    return low


def sum_counts(
    step: str, starts: Sequence[datetime], measures: Collection[Measure]
) -> QuerySet[PeriodCount, Any]:
    """Return the counts of measures, added up in the database between the given timestamps.

    The rows are dicts: ``index`` is that of the last of ``starts`` at or before the counts.
    """
    limits = [models.When(start__lt=end, then=index) for index, end in enumerate(starts[1:])]
    rows = PeriodCount.objects.filter(step=step, start__gte=starts[0], measure__in=measures)
    index = models.Case(*limits, default=len(starts) - 1, output_field=models.IntegerField())
    grouped = rows.values("measure", "part", index=index)
    # `_sum`: an aggregate must not have the name of its column.
    return grouped.annotate(
        count_sum=models.Sum("count"), total_sum=models.Sum("total"), highest=models.Max("peak")
    ).order_by()
