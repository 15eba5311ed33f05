"""Metrics of Loupe as a whole, read from the database when a program such as Prometheus asks.

The figures hold for all processes on all hosts: counters are running totals, which one job keeps,
and the rest is the present state. Every query is bounded, so a scrape costs the same with ten
million images. No label names a person, a prompt or an image.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet, Sum
from django.utils import timezone
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from generation.core.outages import find_outage
from generation.models import GenerationRequest, JobSlot, ProviderState, RemoteImage, StorageReport
from moderation import classifiers
from moderation.models import (
    Alarm,
    AlarmCheck,
    ChainHead,
    Chore,
    Classification,
    CountProgress,
    Delivery,
    Embedding,
    Measure,
    PeriodCount,
    Review,
    RunningTotal,
    Verification,
)
from moderation.services.period_counts import BEYOND, BOUNDS, QUEUE_MAX, floor_day

log = logging.getLogger("loupe.metrics")

Totals = Mapping[str, list[RunningTotal]]
PROVIDER_KINDS: Final = ("submit", "poll", "download")
OPEN_REQUESTS: Final = (*GenerationRequest.OPEN, GenerationRequest.Status.UNKNOWN)
REVIEW_STATES: Final = (
    Review.Status.CLASSIFYING,
    Review.Status.PENDING,
    Review.Status.ESCALATED,
)


class DatabaseCollector(Collector):
    """A collector of all figures that the database holds.

    Nothing is kept for the next scrape: it may reach another process with an older copy, and a
    counter that seems to fall counts twice in Prometheus.
    """

    def collect(self) -> Iterable[Metric]:
        return _collect_all()


def _collect_all() -> Iterator[Metric]:
    """Yield all metrics; after an outage only that the database is away."""
    found: list[Metric] = []
    is_up = True
    try:
        for build in SECTIONS:
            found += build()
    except Exception as error:
        if find_outage(error) is None:
            raise
        log.warning("The metrics are incomplete", exc_info=True)
        found, is_up = [], False
    yield _gauge("loupe_database_up", "1 if this process reaches the database.", is_up)
    yield from found


def _gauge(name: str, about: str, value: float | None) -> GaugeMetricFamily:
    """Return a gauge without labels; without a value it has no sample."""
    gauge = GaugeMetricFamily(name, about)
    if value is not None:
        gauge.add_metric((), float(value))
    return gauge


# --- Counters ---
def build_counters() -> Iterator[Metric]:
    """Yield the counters; they lag behind by up to three minutes."""
    totals: dict[str, list[RunningTotal]] = defaultdict(list)
    for row in RunningTotal.objects.order_by("pk"):
        totals[row.measure].append(row)
    yield from _build_work(totals)
    yield from _build_calls(totals)
    yield from _build_jobs(totals)


def _count(
    name: str, about: str, labels: tuple[str, ...], rows: Iterable[RunningTotal]
) -> CounterMetricFamily:
    """Return a counter whose labels are the words of the part."""
    counter = CounterMetricFamily(name, about, labels=labels)
    for row in rows:
        counter.add_metric(row.part.split(":"), row.count)
    return counter


def _build_work(totals: Totals) -> Iterator[Metric]:
    measure = RunningTotal.Measure
    yield _count(
        "loupe_arrivals", "Images that arrived.", ("source",), totals.get(measure.ARRIVALS, ())
    )
    yield _count(
        "loupe_decisions",
        "Decisions, also those undone later. Origin: person, batch or policy.",
        ("origin", "outcome"),
        totals.get(measure.DECISIONS, ()),
    )
    yield _count(
        "loupe_decisions_reversed",
        "Decisions undone or reversed, by the origin of the reversed decision.",
        ("origin",),
        totals.get(measure.REVERSALS, ()),
    )
    yield _count(
        "loupe_second_opinions",
        "Second opinions and audits, by the origin of the first decision.",
        ("origin", "result"),
        totals.get(measure.OPINIONS, ()),
    )
    cost = CounterMetricFamily("loupe_cost_usd", "Cost by service.", labels=("service",))
    for row in totals.get(measure.SPEND, ()):
        cost.add_metric((row.part,), row.total)
    yield cost


def _build_calls(totals: Totals) -> Iterator[Metric]:
    providers = CounterMetricFamily(
        "loupe_provider_calls",
        "Calls of providers, and downloads of their images.",
        labels=("provider", "operation", "result"),
    )
    runs = CounterMetricFamily(
        "loupe_classifications",
        "Runs of classifiers. skipped: not asked, retried: failed and tried again later.",
        labels=("classifier", "result"),
    )
    webhooks = CounterMetricFamily(
        "loupe_webhook_deliveries", "Attempts to deliver events.", labels=("result",)
    )
    seconds: dict[tuple[str, str], float] = {}
    for row in totals.get(RunningTotal.Measure.CALLS, ()):
        service, kind, outcome = row.part.split(":")
        if outcome == "done":
            seconds[service, kind] = row.total
        if kind in PROVIDER_KINDS:
            providers.add_metric((service, kind, outcome), row.count)
        elif kind == "classify":
            runs.add_metric((service, outcome), row.count)
        elif kind == "deliver":
            webhooks.add_metric((outcome,), row.count)
    yield from (providers, runs, webhooks)
    yield from _build_latency(totals, seconds)


def _build_latency(totals: Totals, seconds: Mapping[tuple[str, str], float]) -> Iterator[Metric]:
    counts: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for row in totals.get(RunningTotal.Measure.LATENCY, ()):
        service, kind, bound = row.part.split(":")
        counts[service, kind][bound] = row.count
    providers = HistogramMetricFamily(
        "loupe_provider_call_seconds",
        "Durations of answered calls. Polls are asked together and count with the slowest.",
        labels=("provider", "operation"),
    )
    runs = HistogramMetricFamily(
        "loupe_classifier_seconds", "Durations of finished runs.", labels=("classifier",)
    )
    webhooks = HistogramMetricFamily(
        "loupe_webhook_delivery_seconds", "Durations of accepted deliveries."
    )
    for (service, kind), by_bound in sorted(counts.items()):
        buckets, total = _accumulate(by_bound), seconds.get((service, kind), 0.0)
        if kind in PROVIDER_KINDS:
            providers.add_metric((service, kind), buckets, total)
        elif kind == "classify":
            runs.add_metric((service,), buckets, total)
        elif kind == "deliver":
            webhooks.add_metric((), buckets, total)
    yield from (providers, runs, webhooks)


def _accumulate(by_bound: Mapping[str, int]) -> list[tuple[str, float]]:
    """Return the cumulated buckets of a histogram."""
    buckets: list[tuple[str, float]] = []
    reached = 0
    for bound in BOUNDS:
        reached += by_bound.get(f"{bound:g}", 0)
        buckets.append((f"{bound}", reached))
    return [*buckets, ("+Inf", reached + by_bound.get(BEYOND, 0))]


def _build_jobs(totals: Totals) -> Iterator[Metric]:
    rows = totals.get(RunningTotal.Measure.JOBS, ())
    yield _count("loupe_job_runs", "Runs of jobs that ended.", ("job", "result"), rows)
    seconds = CounterMetricFamily(
        "loupe_job_run_seconds", "Time that runs of jobs took.", labels=("job", "result")
    )
    for row in rows:
        seconds.add_metric(row.part.split(":"), row.total)
    yield seconds


# --- Waiting work ---
def build_queues() -> Iterator[Metric]:
    """Yield how much waits, up to QUEUE_MAX, and for how long."""
    depth = GaugeMetricFamily(
        "loupe_queue_depth",
        f"Waiting rows, counted up to {QUEUE_MAX}.",
        labels=("queue", "state"),
    )
    for queue, state, rows in _list_waiting():
        depth.add_metric((queue, state), rows.order_by().values("pk")[:QUEUE_MAX].count())
    yield depth
    yield from _build_ages()


def _list_waiting() -> Iterator[tuple[str, str, QuerySet[Any]]]:
    for status in REVIEW_STATES:
        yield "reviews", status, Review.objects.with_status(status)
    for state in OPEN_REQUESTS:
        yield "requests", state, GenerationRequest.objects.filter(status=state)
    for queue, rows in list_due().items():
        yield queue, "waiting", rows


def list_due() -> dict[str, QuerySet[Any]]:
    """Return the rows that jobs have yet to work on, by queue."""
    remote = list(classifiers.remote())
    waiting = Classification.objects.filter(due_at__isnull=False)
    return {
        "downloads": RemoteImage.objects.filter(due_at__isnull=False),
        "classifications": waiting.exclude(classifier__in=remote),
        "remote classifications": waiting.filter(classifier__in=remote),
        "embeddings": Embedding.objects.filter(due_at__isnull=False),
        "webhooks": Delivery.objects.filter(due_at__isnull=False),
    }


def _build_ages() -> Iterator[Metric]:
    now = timezone.now()
    age = GaugeMetricFamily(
        "loupe_queue_oldest_age_seconds",
        "Age of the image that waits longest for a decision.",
        labels=("state",),
    )
    for state in (Review.Status.PENDING, Review.Status.ESCALATED):
        age.add_metric((state,), _seconds_since(find_oldest(state), now))
    yield age
    overdue = GaugeMetricFamily(
        "loupe_queue_overdue_seconds",
        "Time for which the row that is due longest waits for its job.",
        labels=("queue",),
    )
    due = {"requests": GenerationRequest.objects.filter(due_at__isnull=False), **list_due()}
    for queue, rows in due.items():
        first = rows.order_by("due_at").values_list("due_at", flat=True).first()
        overdue.add_metric((queue,), _seconds_since(first, now))
    yield overdue


def find_oldest(state: Review.Status) -> datetime | None:
    """Return when the image arrived that waits longest in this state."""
    rows = Review.objects.with_status(state).order_by("pk")
    return rows.values_list("created_at", flat=True).first()


def _seconds_since(at: datetime | None, now: datetime) -> float:
    return max(0.0, (now - at).total_seconds()) if at else 0.0


# --- State ---
def build_hosts() -> Iterator[Metric]:
    """Yield the workers, and what they last said about the image storage."""
    now = timezone.now()
    alive = GaugeMetricFamily(
        "loupe_workers_alive", "Workers with a sign of life in the last minute.", labels=("host",)
    )
    counts: dict[str, int] = {}
    for slot in JobSlot.objects.filter(name=JobSlot.WORKER):
        counts[slot.host] = counts.get(slot.host, 0) + slot.is_running(now)
    for host, count in sorted(counts.items()):
        alive.add_metric((host,), count)
    yield alive
    free = GaugeMetricFamily(
        "loupe_disk_free_bytes", "Free space where images are stored.", labels=("host",)
    )
    works = GaugeMetricFamily(
        "loupe_storage_ok", "1 if the host can store and read images.", labels=("host",)
    )
    for report in StorageReport.objects.seen_since(now - StorageReport.FRESH_FOR):
        works.add_metric((report.host,), float(not report.error))
        if report.free_bytes is not None:
            free.add_metric((report.host,), report.free_bytes)
    yield from (free, works)
    yield _gauge(
        "loupe_disk_reserve_bytes", "STORAGE_RESERVE_MB in bytes.", settings.STORAGE_RESERVE
    )


def build_services() -> Iterator[Metric]:
    """Yield the state of providers, the spending, and the background counts."""
    failing = GaugeMetricFamily(
        "loupe_provider_failing", "1 if the last call failed.", labels=("provider",)
    )
    for row in ProviderState.objects.order_by("slug"):
        error, success = row.last_error_at, row.last_success_at
        failing.add_metric((row.slug,), error is not None and (success is None or success < error))
    yield failing
    yield _gauge("loupe_spending_today_usd", "Cost of the day (UTC) so far.", read_spending_today())
    limit = settings.SPENDING_LIMIT_PER_DAY
    yield _gauge(
        "loupe_spending_limit_usd",
        "SPENDING_LIMIT_PER_DAY; no sample without a limit.",
        None if limit is None else float(limit),
    )
    counted = GaugeMetricFamily(
        "loupe_counted_timestamp_seconds",
        "Time up to which the counters have counted.",
        labels=("stream",),
    )
    for progress in CountProgress.objects.order_by("stream"):
        if progress.counted_until is not None:
            counted.add_metric((progress.stream,), progress.counted_until.timestamp())
    yield counted
    yield _gauge(
        "loupe_chores_failing",
        "Housekeeping chores whose last run failed.",
        Chore.objects.exclude(error="").count(),
    )


def read_spending_today() -> float:
    """Return the USD of today (UTC), as counted up to the last minute."""
    today = PeriodCount.objects.filter(
        step=PeriodCount.Step.DAY, start=floor_day(timezone.now()), measure=Measure.SPEND
    )
    return today.aggregate(usd=Sum("total"))["usd"] or 0.0


def build_alarms() -> Iterator[Metric]:
    """Yield the open alarms, and when alarms were last checked."""
    opened = dict.fromkeys(Alarm.Kind.values, 0)
    for kind in Alarm.objects.open().values_list("kind", flat=True):
        opened[kind] += 1
    gauge = GaugeMetricFamily("loupe_alarms_open", "Open alarms by kind.", labels=("alarm",))
    for kind, count in opened.items():
        gauge.add_metric((kind,), count)
    yield gauge
    check = AlarmCheck.objects.filter(pk=1).first()
    at = check.checked_at if check else None
    yield _gauge(
        "loupe_alarms_checked_timestamp_seconds",
        "Time of the last check of all alarms.",
        at.timestamp() if at else None,
    )


def build_record() -> Iterator[Metric]:
    """Yield the length of the record, and its last verification."""
    head = ChainHead.objects.filter(pk=1).first()
    yield _gauge("loupe_record_decisions", "Rows of the record.", head.sequence if head else 0)
    newest = Verification.objects.find_newest()
    age = faults = None
    if newest is not None:
        age = _seconds_since(newest.finished_at, timezone.now())
        faults = float(newest.faults)
    yield _gauge(
        "loupe_record_verification_age_seconds",
        "Age of the last verification of the whole record; no sample before the first.",
        age,
    )
    yield _gauge("loupe_record_faults", "Faults that the last verification found.", faults)


def build_connections() -> Iterator[Metric]:
    """Yield the connections of this database, on PostgreSQL."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(state, 'hidden'), count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() GROUP BY 1"
        )
        states = cursor.fetchall()
        cursor.execute("SELECT current_setting('max_connections')::int")
        (limit,) = cursor.fetchone()
    connections = GaugeMetricFamily(
        "loupe_database_connections",
        "Connections to the database, of all programs.",
        labels=("state",),
    )
    for state, count in states:
        connections.add_metric((state,), count)
    yield connections
    yield _gauge("loupe_database_connections_limit", "PostgreSQL's max_connections.", limit)


SECTIONS: Final[tuple[Callable[[], Iterator[Metric]], ...]] = (
    build_counters,
    build_queues,
    build_hosts,
    build_services,
    build_record,
    build_alarms,
    build_connections,
)
