"""Descriptions of charts: values with names and units, without coordinates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from moderation.presenters.charts.formats import format_number, format_share

FormatValue = Callable[[float], str]


class Tone(StrEnum):
    """The meaning of a series, which charts.css maps to a colour of tokens.css."""

    ACCENT = "accent"
    APPROVE = "approve"
    REJECT = "reject"
    ESCALATE = "escalate"
    PENDING = "pending"
    MUTED = "muted"


class Size(StrEnum):
    """The room of a chart: a cell of small multiples, or a full column."""

    SMALL = "small"
    WIDE = "wide"


class Step(StrEnum):
    """The length of the periods on a time axis."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """Periods of equal length, each named by its start."""

    starts: Sequence[datetime]
    step: Step

    def name_period(self, index: int) -> str:
        """Return the name of a period for tables and tooltips."""
        start = self.starts[index]
        day = f"{start.day} {start:%b}"
        if self.step == Step.HOUR:
            return f"{day} {start:%H:%M}"
        return day if self.step == Step.DAY else f"week of {day}"


@dataclass(frozen=True, slots=True)
class Series:
    """Values of one name, one for each period or bin; None where there is no data."""

    name: str
    values: Sequence[float | None]
    tone: Tone = Tone.ACCENT


@dataclass(frozen=True, slots=True)
class Target:
    """A line across the plot that values are compared with."""

    value: float
    label: str


@dataclass(frozen=True, slots=True)
class Band:
    """An area around a line, such as an interval; None where there is no data."""

    name: str
    low: Sequence[float | None]
    high: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Marker:
    """A vertical line at a value of the horizontal axis, such as a threshold."""

    value: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The parts that every chart has. ``name`` is a slug, unique in the page."""

    name: str
    title: str
    # One sentence that says what the plot shows, for those who do not see it.
    summary: str
    format_value: FormatValue = format_number
    # Distances between ticks that are round in the unit; empty: powers of ten times 1, 2, 2.5, 5.
    steps: Sequence[float] = ()
    size: Size = Size.SMALL


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChart(Chart):
    """Lines over time. ``ceiling`` fixes the upper end of the axis, for example 1 for shares."""

    axis: TimeAxis
    series: Sequence[Series]
    target: Target | None = None
    band: Band | None = None
    ceiling: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StackedBars(Chart):
    """Bars over time; the series of a period stand on each other."""

    axis: TimeAxis
    series: Sequence[Series]
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class Bin:
    """An interval of the horizontal axis, from ``low`` up to but not including ``high``."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram(Chart):
    """Counts by bins, split by class: each class is a series with one count a bin."""

    bins: Sequence[Bin]
    series: Sequence[Series]
    markers: Sequence[Marker] = ()
    format_bin: FormatValue = format_number


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparkline(Chart):
    """A small line without axes, beside a number."""

    values: Sequence[float | None]
    tone: Tone = Tone.ACCENT
    target: float | None = None


@dataclass(frozen=True, slots=True)
class IntervalRow:
    """One estimate with its interval; None where the figure is not known."""

    label: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    tone: Tone = Tone.ACCENT
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalDots(Chart):
    """A dot and its interval for each row, on one axis; ``average`` is a line to compare with."""

    rows: Sequence[IntervalRow]
    average: Target | None = None
    low: float = 0.0
    high: float | None = None
    format_value: FormatValue = format_share


@dataclass(frozen=True, slots=True)
class ReliabilityPoint:
    """Images of similar stated probability, and the share of them that came true."""

    stated: float
    observed: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability(Chart):
    """Stated against observed probability; on the diagonal, probabilities come true."""

    points: Sequence[ReliabilityPoint] = field(default_factory=tuple)
    format_value: FormatValue = format_share
