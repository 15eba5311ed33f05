"""Context of the page Classifiers of Insights: the figures of the judgement reports as plots."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from moderation import classifiers, taxonomy
from moderation.models.judgement_reports import WINDOWS
from moderation.presenters import insights, judgement
from moderation.presenters.charts import (
    Band,
    Chart,
    IntervalDots,
    IntervalRow,
    LineChart,
    Reliability,
    ReliabilityPoint,
    Series,
    Step,
    TimeAxis,
    Tone,
)
from moderation.presenters.charts.formats import format_share

# Plots of one classifier: more rows or weeks would hide those that matter.
ROWS_MAX: Final = 40
PRECISION: Final = (("precision", "blind"), ("precision_influenced", "influenced"))


@dataclass(frozen=True, slots=True)
class Source:
    """A version of a classifier with its plots."""

    title: str
    charts: list[Chart]
    weekly_charts: list[Chart]
    unknown: int  # figures that are not known for want of images


def build_classifiers(days: int) -> dict[str, Any]:
    """Build the context of the page from one stored report."""
    document = judgement.find_document(days)
    by_source: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in document["figures"]:
        by_source.setdefault((row["classifier"], row["version"]), []).append(row)
    return {
        "tabs": insights.list_tabs("moderation:insight-classifiers"),
        "days": days,
        "windows": WINDOWS,
        "document": document,
        "computed_at": (
            datetime.fromisoformat(document["computed_at"]) if document["computed_at"] else None
        ),
        "sources": [
            _build_source(f"s{number}", classifier, version, rows)
            for number, ((classifier, version), rows) in enumerate(by_source.items())
        ],
    }


def _build_source(prefix: str, classifier: str, version: str, rows: list[dict[str, Any]]) -> Source:
    charts = [
        *_chart_figure(prefix, rows, "precision", PRECISION, "Precision of findings"),
        *_chart_figure(
            prefix, rows, "misses", (("miss_rate", ""),), "Misses among “nothing found”"
        ),
        *_chart_figure(prefix, rows, "recall", (("recall", ""),), "Recall"),
        *_chart_reliability(prefix, rows),
    ]
    names = ("precision", "precision_influenced", "miss_rate", "recall")
    unknown = sum(row[name]["value"] is None for row in rows for name in names)
    return Source(
        f"{classifiers.label(classifier)} {version}", charts, [*_chart_weeks(prefix, rows)], unknown
    )


def _chart_figure(
    prefix: str,
    rows: list[dict[str, Any]],
    name: str,
    figures: tuple[tuple[str, str], ...],
    title: str,
) -> Iterator[Chart]:
    """Yield dots with intervals, of the figures that have images; nothing without any."""
    found = [
        IntervalRow(
            f"{taxonomy.join_names([row['category']])}{f', {kind}' if kind else ''}",
            row[figure]["value"],
            row[figure]["low"],
            row[figure]["high"],
            row[figure]["n"],
            Tone.MUTED if kind == "influenced" else Tone.ACCENT,
        )
        for row in rows
        for figure, kind in figures
        if row[figure]["n"]
    ]
    if found:
        known = sum(row.value is not None for row in found)
        yield IntervalDots(
            name=f"{prefix}-{name}",
            title=title,
            summary=f"{known} of {len(found)} figures are known, each with its 95 % interval.",
            rows=found[:ROWS_MAX],
        )


def _chart_reliability(prefix: str, rows: list[dict[str, Any]]) -> Iterator[Chart]:
    for row in rows:
        measured = row["calibration"]
        points = [
            ReliabilityPoint(part["mean"], part["value"], part["low"], part["high"], part["n"])
            for part in measured["bins"]
            if part["value"] is not None
        ]
        if points:
            name = taxonomy.join_names([row["category"]])
            yield Reliability(
                name=f"{prefix}-reliability-{row['category'].replace('.', '-')}",
                title=f"{name}: stated and observed",
                summary=f"Off by {format_share(measured['ece'])} on average, from"
                f" {measured['n']:,} audited images.",
                points=points,
            )


def _chart_weeks(prefix: str, rows: list[dict[str, Any]]) -> Iterator[Chart]:
    for row in rows:
        by_source: dict[str, dict[datetime, dict[str, Any]]] = {}
        for week in row["weeks"]:
            # ISO weeks are named 2026-W48.
            start = datetime.strptime(f"{week['week']}-1", "%G-W%V-%u")
            by_source.setdefault(week["source"], {})[start] = week
        for source, found in by_source.items():
            starts = _list_weeks(min(found), max(found))
            weeks = [found.get(start) for start in starts]
            values = [week["value"] if week else None for week in weeks]
            signals = sum(bool(week and week["is_signal"]) for week in weeks)
            if len(starts) < 2:
                continue
            name = taxonomy.join_names([row["category"]])
            yield LineChart(
                name=f"{prefix}-weeks-{source}-{row['category'].replace('.', '-')}",
                title=f"{name}: confirmed a week, {source}",
                summary=f"{signals} of {len(starts)} weeks lie outside of the limits of chance.",
                axis=TimeAxis(starts, Step.WEEK),
                series=[Series("confirmed", values)],
                band=Band(
                    "limits of chance",
                    [week["low"] if week else None for week in weeks],
                    [week["high"] if week else None for week in weeks],
                ),
                ceiling=1.0,
                format_value=format_share,
            )


def _list_weeks(first: datetime, last: datetime) -> list[datetime]:
    count = (last - first) // timedelta(weeks=1) + 1
    return [first + index * timedelta(weeks=1) for index in range(count)]
