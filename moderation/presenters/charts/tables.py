"""The table behind each plot: the same values as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from moderation.presenters.charts.charts import (
    Band,
    Chart,
    FormatValue,
    Histogram,
    IntervalDots,
    LineChart,
    Reliability,
    Series,
    Sparkline,
    StackedBars,
)
from moderation.presenters.charts.formats import NO_DATA


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table; its name may be a link."""

    name: str
    cells: Sequence[str]
    url: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows; the first column has the names of the rows."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Row]


def build_table(chart: Chart) -> Table | None:
    """Return the values of a chart as a table; None for a sparkline, whose summary says enough."""
    match chart:
        case LineChart() | StackedBars():
            names = [chart.axis.name_period(index) for index in range(len(chart.axis.starts))]
            columns = list(_iter_columns(chart.series, getattr(chart, "band", None)))
            rows = _build_rows(names, [values for _, values in columns], chart.format_value)
            # The newest period first: it is looked for most.
            return Table(chart.title, ["Period", *(name for name, _ in columns)], rows[::-1])
        case Histogram():
            names = [
                f"{chart.format_bin(each.low)} to {chart.format_bin(each.high)}"
                for each in chart.bins
            ]
            values = [series.values for series in chart.series]
            rows = _build_rows(names, values, chart.format_value)
            return Table(chart.title, ["Range", *(series.name for series in chart.series)], rows)
        case IntervalDots():
            rows = [
                Row(
                    row.label,
                    [*_format_all((row.value, row.low, row.high), chart), f"{row.n:,}"],
                    row.url,
                )
                for row in chart.rows
            ]
            return Table(chart.title, ["Name", "Value", "From", "To", "n"], rows)
        case Reliability():
            rows = [
                Row(
                    chart.format_value(point.stated),
                    [
                        *_format_all((point.observed, point.low, point.high), chart),
                        f"{point.n:,}",
                    ],
                )
                for point in chart.points
            ]
            return Table(chart.title, ["Stated", "Observed", "From", "To", "n"], rows)
        case Sparkline():
            return None
    raise TypeError(f"{type(chart).__name__} is no chart with a table.")


def list_values(chart: Chart) -> tuple[list[str], list[list[Any]]]:
    """Return the columns and rows of a chart for programs: timestamps and plain numbers."""
    match chart:
        case LineChart() | StackedBars():
            columns = list(_iter_columns(chart.series, getattr(chart, "band", None)))
            rows = [
                [start.isoformat(), *(values[index] for _, values in columns)]
                for index, start in enumerate(chart.axis.starts)
            ]
            return ["start", *(name for name, _ in columns)], rows
        case IntervalDots():
            estimates = [[row.label, row.value, row.low, row.high, row.n] for row in chart.rows]
            return ["name", "value", "low", "high", "n"], estimates
        case Reliability():
            points = [
                [point.stated, point.observed, point.low, point.high, point.n]
                for point in chart.points
            ]
            return ["stated", "observed", "low", "high", "n"], points
    raise TypeError(f"{type(chart).__name__} has no values for programs.")


def _iter_columns(
    series: Sequence[Series], band: Band | None
) -> Iterator[tuple[str, Sequence[float | None]]]:
    for each in series:
        yield each.name, each.values
    if band:
        yield f"{band.name}, from", band.low
        yield f"{band.name}, to", band.high


def _build_rows(
    names: Sequence[str], columns: Sequence[Sequence[float | None]], format_value: FormatValue
) -> list[Row]:
    return [
        Row(name, [_format(values[index], format_value) for values in columns])
        for index, name in enumerate(names)
    ]


def _format_all(values: Sequence[float | None], chart: Chart) -> list[str]:
    return [_format(value, chart.format_value) for value in values]


def _format(value: float | None, format_value: FormatValue) -> str:
    return NO_DATA if value is None else format_value(value)
