"""Context of the page Storage: space by kind, growth, forecast, removals and housekeeping."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.utils import timezone

from generation.core.storage import FOLDERS
from generation.models import Asset
from generation.services import storage_checks
from moderation.models import Chore, RetentionRule, StorageScan, StorageUsage
from moderation.presenters.charts import LineChart, Series, Size, StackedBars, Step, TimeAxis, Tone
from moderation.services import storage_usage
from moderation.services.storage_usage import STEPS

DAYS_SHOWN = 30
SOON = timedelta(days=30)
Kind = StorageUsage.Kind
TONES = {
    Kind.ORIGINALS: Tone.ACCENT,
    Kind.RENDITIONS: Tone.APPROVE,
    Kind.THUMBNAILS: Tone.ESCALATE,
    Kind.VIEWS: Tone.PENDING,
    Kind.BLURRED: Tone.MUTED,
}


def format_bytes(value: float) -> str:
    """Format a size in its best unit: 0 B, 512 KiB, 3.1 GiB."""
    size = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} TiB"


def build_page() -> dict[str, Any]:
    """Build the context from stored numbers: nothing is measured in the request."""
    today = timezone.now().date()
    since = today - timedelta(days=DAYS_SHOWN - 1)
    rows = list(StorageUsage.objects.filter(day__gte=since).order_by("day"))
    last_day = rows[-1].day if rows else None
    newest = {row.kind: row for row in rows if row.day == last_day}
    days = [since + timedelta(days=number) for number in range(DAYS_SHOWN)]
    forecast = storage_usage.forecast()
    reports = storage_checks.load_reports()
    return {
        "measured_on": last_day,
        "kinds": [
            {
                "label": Kind(kind).label,
                "files": newest[kind].files,
                "size": format_bytes(newest[kind].bytes).replace(" ", "\N{NO-BREAK SPACE}"),
                "orphans": newest[kind].orphans,
            }
            for kind in Kind.values
            if kind in newest
        ],
        "total": format_bytes(sum(newest[kind].bytes for kind in FOLDERS if kind in newest)),
        "orphans": sum(row.orphans for row in newest.values()),
        "forecast": forecast,
        "growth": None if forecast.per_day is None else _format_growth(forecast.per_day),
        "free": None if forecast.free_bytes is None else format_bytes(forecast.free_bytes),
        "reserve": format_bytes(forecast.reserve_bytes),
        "is_full_soon": forecast.full_on is not None and forecast.full_on - today < SOON,
        "size_chart": _build_sizes(days, rows),
        "growth_chart": _build_growth(days, rows),
        "scan": _describe_scan(),
        "problems": storage_checks.find_problems(reports),
        "last_purge": Asset.objects.filter(purged_at__isnull=False)
        .order_by("-purged_at")
        .values_list("purged_at", flat=True)
        .first(),
        "purged": Asset.objects.filter(purged_at__isnull=False).count(),
        "rules_on": RetentionRule.objects.switched_on().count(),
        "chores": Chore.objects.all(),
    }


def _format_growth(per_day: float) -> str:
    sign = "+" if per_day >= 0 else "−"
    return f"{sign}{format_bytes(abs(per_day))}"


def _axis(days: list[date]) -> TimeAxis:
    return TimeAxis([datetime.combine(day, time(), UTC) for day in days], Step.DAY)


def _sum_by_day(rows: list[StorageUsage]) -> dict[date, dict[str, int]]:
    found: dict[date, dict[str, int]] = defaultdict(dict)
    for row in rows:
        if row.kind in FOLDERS:
            found[row.day][row.kind] = row.bytes
    return found


def _build_sizes(days: list[date], rows: list[StorageUsage]) -> StackedBars:
    found = _sum_by_day(rows)
    series = [
        Series(
            Kind(kind).label, [found[day].get(kind) if day in found else None for day in days], tone
        )
        for kind, tone in TONES.items()
        if any(kind in of_day for of_day in found.values())
    ]
    last = sum(found[max(found)].values()) if found else 0
    return StackedBars(
        name="size",
        title="Stored files",
        summary=f"Bytes of the stored files by kind and day; last {format_bytes(last)}.",
        axis=_axis(days),
        series=series,
        format_value=format_bytes,
        steps=_steps(last),
        size=Size.WIDE,
    )


def _build_growth(days: list[date], rows: list[StorageUsage]) -> LineChart:
    totals = {day: sum(kinds.values()) for day, kinds in _sum_by_day(rows).items()}
    values: list[float | None] = []
    for day in days:
        before = totals.get(day - timedelta(days=1))
        values.append(None if before is None or day not in totals else totals[day] - before)
    known = [value for value in values if value is not None]
    summary = (
        f"Change of the stored files in a day, between {format_bytes(min(known))} and"
        f" {format_bytes(max(known))}."
        if known
        else "Two days must be measured first."
    )
    return LineChart(
        name="growth",
        title="Growth a day",
        summary=summary,
        axis=_axis(days),
        series=[Series("growth", [None if v is None else max(0, v) for v in values])],
        format_value=format_bytes,
        steps=_steps(max(known, default=0)),
        size=Size.WIDE,
    )


def _steps(highest: float) -> list[float]:
    """Return distances of ticks that are round in powers of 1,024."""
    unit = 1024
    while unit * 1024 < highest:
        unit *= 1024
    return [unit * factor for factor in (1, 2, 5, 10, 20, 50, 100, 200, 500)]


def _describe_scan() -> dict[str, Any]:
    scan = StorageScan.objects.first()
    if scan is None:
        return {"state": ("queued", "Not measured yet"), "is_running": False}
    if scan.error:
        return {"state": ("failed", "Failed"), "error": scan.error, "is_running": False}
    if scan.finished_at is None:
        percent = 100 * scan.position // STEPS
        return {"state": ("processing", f"Measuring, {percent} %"), "is_running": True}
    return {"state": ("succeeded", "Measured"), "at": scan.finished_at, "is_running": False}
