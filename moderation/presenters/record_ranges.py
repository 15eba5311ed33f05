"""Links that filter the record by common ranges of days."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from urllib.parse import urlencode


@dataclass(frozen=True, slots=True, kw_only=True)
class DayRange:
    """A range of days, both included, with its filters as a query."""

    name: str
    query: str
    is_current: bool


def build_ranges(filters: Mapping[str, str], today: date) -> list[DayRange]:
    """Return today, the last seven days and the last whole week; other filters are kept."""
    return [
        DayRange(
            name=name,
            query=urlencode({**filters, "start": start.isoformat(), "end": end.isoformat()}),
            is_current=(filters.get("start"), filters.get("end"))
            == (start.isoformat(), end.isoformat()),
        )
        for name, start, end in _iter_ranges(today)
    ]


def _iter_ranges(today: date) -> Iterator[tuple[str, date, date]]:
    monday = today - timedelta(days=today.weekday())
    yield "Today", today, today
    yield "Last 7 days", today - timedelta(days=6), today
    yield "Last week", monday - timedelta(days=7), monday - timedelta(days=1)
