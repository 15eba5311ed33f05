"""Context of the page Risk: rejected shares by properties of requests, with their intervals."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.urls import reverse
from django.utils.dates import WEEKDAYS

from generation.models import ApiKey
from moderation.judgement.estimates import MINIMUM, Figure, estimate_wilson
from moderation.models import RiskKind, RiskReport
from moderation.presenters.charts import IntervalDots, IntervalRow, Target, Tone
from moderation.presenters.charts.formats import format_share
from moderation.services.exports.escaping import escape_cell
from moderation.services.risk_stats import WINDOWS

DAYS_DEFAULT: Final = 30
CHARTED: Final = 12  # rows of a plot; the page of the kind lists all
UNKNOWN_SHOWN: Final = 10  # rows without a figure
COLUMNS: Final = ("kind", "key", "decided", "rejected", "rate", "low", "high")
# Kinds in the order of the page, with the parameter of the search.
PARAMETERS: Final = {
    RiskKind.WORD: "q",
    RiskKind.MODEL: "model",
    RiskKind.LORA: "lora",
    RiskKind.REQUESTER: "requester",
    RiskKind.HOUR: "hour",
    RiskKind.WEEKDAY: "weekday",
}
IN_ORDER: Final = (RiskKind.HOUR, RiskKind.WEEKDAY)  # plotted in their own order
TITLES: Final = {
    RiskKind.WORD: "Prompt words",
    RiskKind.MODEL: "Models",
    RiskKind.LORA: "LoRAs",
    RiskKind.REQUESTER: "Requesters",
    RiskKind.HOUR: "Hours of the day, UTC",
    RiskKind.WEEKDAY: "Days of the week, UTC",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskRow:
    """One property: its images and how often they were rejected."""

    key: str
    label: str
    decided: int
    rejected: int
    figure: Figure
    average: float | None
    url: str = ""
    rejected_url: str = ""

    @property
    def is_above(self) -> bool:
        """Return whether the whole interval lies above the average of all images."""
        return self._has_both and (self.figure.low or 0.0) > (self.average or 0.0)

    @property
    def is_below(self) -> bool:
        return self._has_both and (self.figure.high or 0.0) < (self.average or 0.0)

    @property
    def _has_both(self) -> bool:
        return self.figure.is_known and self.average is not None

    @property
    def share(self) -> str:
        return "not known" if self.figure.value is None else format_share(self.figure.value)

    @property
    def interval(self) -> str:
        if self.figure.low is None or self.figure.high is None:
            return f"too few: {self.decided} of at least {MINIMUM}"
        return f"{format_share(self.figure.low)} to {format_share(self.figure.high)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskGroup:
    """All listed properties of one kind, the riskiest first."""

    kind: str
    title: str
    rows: Sequence[RiskRow]
    all: int
    unknown: int
    average: float | None

    @property
    def url(self) -> str:
        return reverse("moderation:insight-risk-kind", args=[self.kind])

    @property
    def shown(self) -> Sequence[RiskRow]:
        """The rows of the page of the kind: all known ones, and the most frequent others."""
        known = sum(row.figure.is_known for row in self.rows)
        return self.rows[: known + UNKNOWN_SHOWN]

    @property
    def above(self) -> int:
        return sum(row.is_above for row in self.rows)

    @property
    def chart(self) -> IntervalDots | None:
        """The plot of the riskiest rows; None if no row has a figure."""
        rows = [row for row in self.rows if row.figure.is_known]
        if not rows:
            return None
        if self.kind in IN_ORDER:
            rows.sort(key=lambda row: int(row.key))
        else:
            rows = rows[:CHARTED]
        return IntervalDots(
            name=f"risk-{self.kind}",
            title=self.title,
            summary=self._summarize(),
            rows=[_plot_row(row) for row in rows],
            average=None if self.average is None else Target(self.average, "all images"),
        )

    def _summarize(self) -> str:
        first = next((row for row in self.rows if row.is_above), None)
        if first is None:
            return "No interval lies above the average of all images."
        return (
            f"{self.above} above the average of all images, first {first.label}:"
            f" {first.share} rejected, {first.interval}."
        )


def _plot_row(row: RiskRow) -> IntervalRow:
    figure = row.figure
    return IntervalRow(
        row.label,
        figure.value,
        figure.low,
        figure.high,
        row.decided,
        tone=Tone.REJECT if row.is_above else Tone.APPROVE if row.is_below else Tone.MUTED,
        url=row.url,
    )


def parse_days(text: str) -> int | None:
    """Return a window in days, the default for "", or None."""
    if not text:
        return DAYS_DEFAULT
    return next((days for days in WINDOWS if str(days) == text), None)


def build_page(days: int, *, user: User) -> dict[str, Any]:
    """Build the context of the page of all kinds."""
    report = RiskReport.objects.filter(days=days).first()
    return {**_describe_window(days, report), "groups": _build_groups(report, user)}


def build_kind_page(kind: RiskKind, days: int, *, user: User) -> dict[str, Any]:
    """Build the context of the page of one kind."""
    report = RiskReport.objects.filter(days=days).first()
    groups = _build_groups(report, user, kinds=[kind])
    return {
        **_describe_window(days, report),
        "group": groups[0] if groups else None,
        "title": TITLES[kind],
        "name": kind.label,
    }


def _describe_window(days: int, report: RiskReport | None) -> dict[str, Any]:
    document = report.document if report else {}
    decided, rejected = document.get("decided", 0), document.get("rejected", 0)
    figure = estimate_wilson(rejected, decided)
    return {
        "days": days,
        "windows": WINDOWS,
        "computed_at": report.computed_at if report else None,
        "decided": decided,
        "rejected": rejected,
        "average": "not known" if figure.value is None else format_share(figure.value),
        "minimum": MINIMUM,
    }


def _build_groups(
    report: RiskReport | None, user: User, kinds: Iterable[RiskKind] = tuple(PARAMETERS)
) -> list[RiskGroup]:
    if report is None:
        return []
    document = report.document
    average = estimate_wilson(document["rejected"], document["decided"]).value
    since = date.fromisoformat(document["since"])
    may_search = user.has_perm("generation.view_asset")
    return [
        _build_group(kind, document["kinds"][kind], average, since if may_search else None)
        for kind in kinds
    ]


def _build_group(
    kind: RiskKind, counts: Mapping[str, Any], average: float | None, since: date | None
) -> RiskGroup:
    names = _read_requesters(counts["listed"]) if kind == RiskKind.REQUESTER else {}
    rows = []
    for key, decided, rejected in counts["listed"]:
        label = names.get(key, "") if kind == RiskKind.REQUESTER else _name_key(kind, key)
        term = {RiskKind.WORD: f'"{key}"', RiskKind.REQUESTER: label}.get(kind, key)
        link = _link(PARAMETERS[kind], term, since) if label and since else ""
        rows.append(
            RiskRow(
                key=key,
                label=label or "deleted",
                decided=decided,
                rejected=rejected,
                figure=estimate_wilson(rejected, decided),
                average=average,
                url=link,
                rejected_url=f"{link}&status=rejected" if link else "",
            )
        )
    return RiskGroup(
        kind=kind,
        title=TITLES[kind],
        rows=rows,
        all=counts["all"],
        unknown=counts["unknown"],
        average=average,
    )


def _link(parameter: str, value: str, since: date) -> str:
    query = urlencode({parameter: value, "start": since.isoformat()})
    return f"{reverse('moderation:search')}?{query}"


def _name_key(kind: RiskKind, key: str) -> str:
    if kind == RiskKind.HOUR:
        return f"{int(key):02}:00"
    return str(WEEKDAYS[int(key)]) if kind == RiskKind.WEEKDAY else key


def _read_requesters(listed: Iterable[tuple[str, int, int]]) -> dict[str, str]:
    """Return the names of API keys and people by key, with two queries."""
    keys = [key.partition(":") for key, _, _ in listed]
    users = [int(pk) for kind, _, pk in keys if kind == "user"]
    programs = [int(pk) for kind, _, pk in keys if kind == "key"]
    people = User.objects.filter(pk__in=users).values_list("pk", "username")
    names = ApiKey.objects.filter(pk__in=programs).values_list("pk", "name")
    return {
        **{f"user:{pk}": name for pk, name in people},
        **{f"key:{pk}": name for pk, name in names},
    }


# --- For programs ---
def build_document(days: int, *, user: User) -> dict[str, Any]:
    """Return the figures of a window as JSON."""
    report = RiskReport.objects.filter(days=days).first()
    document = report.document if report else {}
    return {
        "days": days,
        "since": document.get("since"),
        "computed_at": report.computed_at.isoformat() if report else None,
        "decided": document.get("decided", 0),
        "rejected": document.get("rejected", 0),
        "rows": [
            dict(zip(COLUMNS, cells, strict=True))
            for cells in _iter_cells(_build_groups(report, user))
        ],
    }


def write_csv(days: int, *, user: User) -> str:
    """Return the figures of a window as CSV. A figure that is not known has empty cells."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    report = RiskReport.objects.filter(days=days).first()
    for cells in _iter_cells(_build_groups(report, user)):
        writer.writerow("" if cell is None else escape_cell(str(cell)) for cell in cells)
    return file.getvalue()


def _iter_cells(groups: Iterable[RiskGroup]) -> Iterator[tuple[Any, ...]]:
    for group in groups:
        for row in group.rows:
            figure = row.figure
            ends = [
                None if value is None else round(value, 6)
                for value in (figure.value, figure.low, figure.high)
            ]
            yield group.kind, row.label, row.decided, row.rejected, *ends
