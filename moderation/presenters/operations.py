"""Context of the page Operations: alarms, the last faults in words, and plots of the counters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Final

from django.urls import reverse
from django.utils import timezone

from generation.models import ProviderState
from moderation.models import Alarm, AlarmCheck, AlarmNotice, Chore, Delivery, Measure
from moderation.presenters import insights
from moderation.presenters.charts import Series, StackedBars, Tone
from moderation.presenters.charts.formats import format_number
from moderation.presenters.insights import Insight
from moderation.presenters.period_series import PeriodSeries, Span, sum_known
from moderation.service_names import name_service
from moderation.services import published_heads
from moderation.services.alarms import notices

CLOSED_SHOWN: Final = 10
FAULTS_SHOWN: Final = 12
LOOK_BACK: Final = timedelta(days=7)
NEWEST: Final = 2000  # deliveries that are read
# A check that is older means that no worker checks.
CHECKED_WITHIN: Final = timedelta(minutes=5)
MEASURES: Final = (
    *(Measure.ARRIVALS, Measure.DECISIONS, Measure.QUEUE, Measure.AGE),
    *(Measure.CALLS, Measure.LATENCY, Measure.SPEND, Measure.JOBS),
)
# Kind → page that helps, and its name.
PAGES: Final = {
    Alarm.Kind.QUEUE: ("moderation:queue-list", "Queues"),
    Alarm.Kind.ESCALATED: ("moderation:queue-list", "Queues"),
    Alarm.Kind.PROVIDER: ("providers", "Providers"),
    Alarm.Kind.SPENDING: ("providers", "Providers"),
    Alarm.Kind.FAULTS: ("moderation:verification-list", "Verification"),
    Alarm.Kind.UNVERIFIED: ("moderation:verification-list", "Verification"),
    Alarm.Kind.HEADS: ("moderation:verification-list", "Verification"),
}


@dataclass(frozen=True, slots=True)
class AlarmRow:
    """An alarm as the page shows it."""

    alarm: Alarm
    url: str
    page: str


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of a service or a job, in words."""

    at: datetime
    name: str
    message: str
    url: str


def build_operations(span: Span) -> dict[str, Any]:
    """Build the context of the page. Everything is read from counters and small tables."""
    counts = PeriodSeries(span, measures=MEASURES)
    check = AlarmCheck.objects.filter(pk=1).first()
    checked_at = check.checked_at if check else None
    closed = Alarm.objects.filter(status=Alarm.Status.CLOSED).order_by("-closed_at")
    return {
        "alarms": [_build_row(alarm) for alarm in Alarm.objects.open().order_by("opened_at")],
        "closed": [_build_row(alarm) for alarm in closed[:CLOSED_SHOWN]],
        "checked_at": checked_at,
        "is_checked": checked_at is not None and timezone.now() - checked_at < CHECKED_WITHIN,
        "channels": [channel.label for channel in notices.list_channels()],
        "notice_error": _find_notice_error(),
        "faults": sorted(_iter_faults(), key=attrgetter("at"), reverse=True)[:FAULTS_SHOWN],
        "insights": list(_iter_insights(counts)),
    }


def _build_row(alarm: Alarm) -> AlarmRow:
    url_name, page = PAGES.get(Alarm.Kind(alarm.kind), ("home", "Today"))
    return AlarmRow(alarm, reverse(url_name), page)


def _find_notice_error() -> str:
    """Return why the newest notice that waits was not sent."""
    waiting = AlarmNotice.objects.filter(due_at__isnull=False).exclude(error="")
    return waiting.order_by("-pk").values_list("error", flat=True).first() or ""


def _iter_faults() -> Iterator[Fault]:
    since = timezone.now() - LOOK_BACK
    for state in ProviderState.objects.filter(last_error_at__gte=since):
        assert state.last_error_at is not None
        name = name_service(state.slug)
        yield Fault(state.last_error_at, name, state.last_error, reverse("providers"))
    now = timezone.now()
    for chore in Chore.objects.exclude(error=""):
        yield Fault(chore.finished_at or now, f"Housekeeping: {chore.name}", chore.error, "")
    newest = Delivery.objects.order_by("-pk").values("pk")[:NEWEST]
    failed = Delivery.objects.filter(
        pk__in=newest, status=Delivery.Status.FAILED, finished_at__gte=since
    )
    url = f"{reverse('moderation:delivery-list')}?status=failed"
    for delivery in failed.order_by("-pk")[:FAULTS_SHOWN]:
        yield Fault(delivery.finished_at or now, "Webhook", delivery.error, url)
    for head in published_heads.find_failing():
        yield Fault(
            head.created_at,
            "Published head",
            head.error,
            reverse("moderation:verification-list"),
        )


def _iter_insights(counts: PeriodSeries) -> Iterator[Insight]:
    # The share that the policy settles is no figure about the installation.
    yield from (each for each in insights.build_work(counts) if each.chart.name != "settled")
    yield build_jobs(counts)
    yield from insights.build_services(counts)


def build_jobs(counts: PeriodSeries) -> Insight:
    """Build the runs of all jobs, and which failed."""
    done = counts.count(Measure.JOBS, lambda part: part.endswith(":done"))
    failed = counts.count(Measure.JOBS, lambda part: part.endswith(":failed"))
    total = sum_known(failed)
    names = [
        f"{part.removesuffix(':failed')}"
        f" {format_number(sum_known(counts.count(Measure.JOBS, part.__eq__)))}"
        for part in counts.list_parts(Measure.JOBS)
        if part.endswith(":failed")
    ]
    return Insight(
        value=format_number(total),
        unit="runs failed",
        comparison=f"{', '.join(names) or 'none'}; {format_number(sum_known(done))} succeeded",
        is_alarming=bool(total),
        chart=StackedBars(
            name="jobs",
            title="Runs of jobs",
            summary=f"Succeeded: {insights.summarize(done, format_number)}"
            f" Failed: {insights.summarize(failed, format_number)}",
            axis=counts.axis,
            series=[Series("succeeded", done), Series("failed", failed, Tone.REJECT)],
        ),
    )
