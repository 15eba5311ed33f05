"""Layout: from the description of a chart to shapes with coordinates.

Units are those of the viewBox. A small chart is shown about as large as it is laid out. A wide one
is laid out twice, and a container query shows the variant that fits: its text stays readable.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from moderation.presenters.charts.charts import (
    Band,
    Chart,
    Histogram,
    IntervalDots,
    IntervalRow,
    LineChart,
    Reliability,
    Series,
    Size,
    Sparkline,
    StackedBars,
    Target,
    TimeAxis,
)
from moderation.presenters.charts.formats import NO_DATA
from moderation.presenters.charts.scales import Scale, find_ticks, find_time_ticks
from moderation.presenters.charts.shapes import Box, Dot, Drawing, Hover, Path, Text

SIZES = {Size.SMALL: (360, 168), Size.WIDE: (1080, 240)}
SPARK = (120, 32)
SQUARE = (360, 280)
LETTER, BOLD = 6.3, 7.0  # mean widths of a letter at the text size of charts.css (12)
LINE = 14  # least distance of two labels
TOP, BOTTOM, GAP = 14, 22, 6
ROW, ROW_SMALL = 24, 40  # heights of a row of intervals
LABEL_MAX = 40  # letters


def draw(chart: Chart) -> list[Drawing]:
    """Lay out a chart: in its own size, and in the small one where there is little room."""
    sizes = [Size.SMALL] if chart.size == Size.SMALL else [Size.WIDE, Size.SMALL]
    return [_draw(chart, size) for size in sizes]


def _draw(chart: Chart, size: Size) -> Drawing:
    match chart:
        case LineChart():
            drawing = _draw_lines(chart, size)
        case StackedBars():
            drawing = _draw_bars(chart, size)
        case Histogram():
            drawing = _draw_histogram(chart, size)
        case IntervalDots():
            drawing = _draw_intervals(chart, size)
        case Reliability():
            drawing = _draw_reliability(chart)
        case Sparkline():
            drawing = _draw_sparkline(chart)
        case _:
            raise TypeError(f"{type(chart).__name__} has no layout.")
    drawing.size = size
    return drawing


# --- Charts over time ---


def _draw_lines(chart: LineChart, size: Size) -> Drawing:
    known = [value for series in chart.series for value in series.values if value is not None]
    if chart.band:
        known += [value for value in chart.band.high if value is not None]
    names = [series.name for series in chart.series] if len(chart.series) > 1 else []
    drawing, y = _frame(chart, size, known, names=names, ceiling=chart.ceiling, target=chart.target)
    places = _place_periods(drawing, chart.axis)
    _add_time_axis(drawing, chart.axis, places)
    _add_gaps(drawing, places, chart.series)
    if chart.band:
        _add_band(drawing, chart.band, places, y, tone=chart.series[0].tone)
    _add_target(drawing, chart.target, y)
    for rank, series in enumerate(chart.series):
        _add_line(drawing, series, places, y, rank)
    if names:
        _add_end_labels(drawing, chart.series, y)
    _add_hovers(drawing, chart, [chart.axis.name_period(i) for i in range(len(places))], places)
    return drawing


def _draw_bars(chart: StackedBars, size: Size) -> Drawing:
    sums = [sum(found) for found in _stack(chart.series) if found]
    names = [series.name for series in chart.series] if len(chart.series) > 1 else []
    drawing, y = _frame(chart, size, sums, names=names, target=chart.target)
    places = _place_periods(drawing, chart.axis)
    _add_time_axis(drawing, chart.axis, places)
    _add_gaps(drawing, places, chart.series)
    _add_stacks(drawing, chart.series, places, y, width=_step(drawing, len(places)) * 0.78)
    _add_target(drawing, chart.target, y)
    if names:
        _add_stack_labels(drawing, chart.series, y)
    _add_hovers(drawing, chart, [chart.axis.name_period(i) for i in range(len(places))], places)
    return drawing


def _draw_histogram(chart: Histogram, size: Size) -> Drawing:
    sums = [sum(found) for found in _stack(chart.series) if found]
    names = [series.name for series in chart.series] if len(chart.series) > 1 else []
    drawing, y = _frame(chart, size, sums, names=names)
    plot = drawing.plot
    low, high = (chart.bins[0].low, chart.bins[-1].high) if chart.bins else (0.0, 1.0)
    x = Scale(low, high, plot.x, plot.right)
    for value in find_ticks(low, high, count=5):
        if value <= high:
            drawing.texts.append(
                Text(x.place(value), plot.bottom + 15, chart.format_bin(value), "tick", "middle")
            )
    places = [x.place((each.low + each.high) / 2) for each in chart.bins]
    _add_stacks(drawing, chart.series, places, y, width=_step(drawing, len(places)) * 0.9)
    for number, marker in enumerate(chart.markers):
        at = x.place(marker.value)
        drawing.paths.append(Path(f"M{at} {plot.y}V{plot.bottom}", "marker", rank=number))
        is_right = at > plot.x + plot.width / 2
        drawing.texts.append(
            Text(
                at + (-3 if is_right else 3),
                plot.y + 9 + number % 2 * LINE,
                marker.label,
                "note",
                "end" if is_right else "start",
            )
        )
    if names:
        _add_stack_labels(drawing, chart.series, y)
    titles = [
        f"{chart.format_bin(each.low)} to {chart.format_bin(each.high)}" for each in chart.bins
    ]
    _add_hovers(drawing, chart, titles, places)
    return drawing


def _frame(
    chart: Chart,
    size: Size,
    values: Iterable[float],
    *,
    names: Sequence[str] = (),
    ceiling: float | None = None,
    target: Target | None = None,
) -> tuple[Drawing, Scale]:
    """Return a drawing with its horizontal lines, and the vertical scale."""
    width, height = SIZES[size]
    found = [*values, *([target.value] if target else [])]
    is_whole = all(float(value).is_integer() for value in found) and ceiling is None
    high = ceiling if ceiling is not None else max([0.0, *found])
    low = min([0.0, *found])
    ticks = find_ticks(low, high, count=3, is_whole=is_whole, steps=chart.steps)
    labels = [chart.format_value(value) for value in ticks]
    if len(set(labels)) < len(labels):  # rounded figures below 1, for example mean depths of queues
        ticks = find_ticks(low, high, count=3, is_whole=True, steps=chart.steps)
        labels = [chart.format_value(value) for value in ticks]
    left = max(map(len, labels)) * LETTER + GAP + 2
    right = min(max(map(len, names), default=0) * BOLD + GAP + 4, 112) if names else 8
    plot = Box(
        round(left, 1), TOP, round(width - left - right, 1), height - TOP - BOTTOM, kind="plot"
    )
    drawing = Drawing(width, height, plot)
    y = Scale(ticks[0], ticks[-1], plot.bottom, plot.y)
    for value, label in zip(ticks, labels, strict=True):
        at = y.place(value)
        kind = "base" if value == 0 else "grid"
        drawing.grid.append(Path(f"M{plot.x} {at}H{plot.right}", kind))
        drawing.texts.append(Text(round(plot.x - GAP, 1), at + 4, label, "tick", "end"))
    return drawing, y


def _step(drawing: Drawing, count: int) -> float:
    return drawing.plot.width / max(1, count)


def _place_periods(drawing: Drawing, axis: TimeAxis) -> list[float]:
    """Return the middle of each period."""
    step = _step(drawing, len(axis.starts))
    return [round(drawing.plot.x + (index + 0.5) * step, 1) for index in range(len(axis.starts))]


def _add_time_axis(drawing: Drawing, axis: TimeAxis, places: Sequence[float]) -> None:
    plot = drawing.plot
    for index, label in find_time_ticks(axis, room=max(2, int(plot.width // 52))):
        at = places[index]
        drawing.grid.append(Path(f"M{at} {plot.bottom}v4", "base"))
        # A label may not be cut at the edges.
        half = len(label) * LETTER / 2
        at = round(min(max(at, half), drawing.width - half), 1)
        drawing.texts.append(Text(at, plot.bottom + 16, label, "tick", "middle"))


def _add_gaps(drawing: Drawing, places: Sequence[float], series: Sequence[Series]) -> None:
    """Shade the periods in which no series has data."""
    step, plot = _step(drawing, len(places)), drawing.plot
    is_empty = [all(each.values[index] is None for each in series) for index in range(len(places))]
    for empty, run in groupby(range(len(places)), key=lambda index: is_empty[index]):
        indexes = list(run)
        if empty:
            x = round(places[indexes[0]] - step / 2, 1)
            drawing.boxes.append(Box(x, plot.y, round(step * len(indexes), 1), plot.height, "gap"))
            if step * len(indexes) > len(NO_DATA) * LETTER + GAP:
                middle = round(x + step * len(indexes) / 2, 1)
                drawing.texts.append(
                    Text(middle, plot.y + plot.height / 2 + 4, NO_DATA, "note", "middle")
                )


def _iter_runs(values: Sequence[float | None]) -> Iterator[list[int]]:
    """Yield the indexes of values without a gap between them."""
    for known, run in groupby(range(len(values)), key=lambda index: values[index] is not None):
        if known:
            yield list(run)


def _add_line(
    drawing: Drawing, series: Series, places: Sequence[float], y: Scale, rank: int = 0
) -> None:
    parts = []
    for run in _iter_runs(series.values):
        points = [(places[i], y.place(series.values[i] or 0.0)) for i in run]
        if len(points) == 1:
            drawing.dots.append(Dot(*points[0], r=2.5, tone=series.tone))
        else:
            parts.append("M" + "L".join(f"{x} {at}" for x, at in points))
    if parts:
        drawing.paths.append(Path("".join(parts), "line", series.tone, rank))


def _add_band(
    drawing: Drawing, band: Band, places: Sequence[float], y: Scale, *, tone: str
) -> None:
    known = [
        low if high is not None else None for low, high in zip(band.low, band.high, strict=True)
    ]
    for run in _iter_runs(known):
        upper = [f"{places[i]} {y.place(band.high[i] or 0.0)}" for i in run]
        lower = [f"{places[i]} {y.place(band.low[i] or 0.0)}" for i in reversed(run)]
        drawing.paths.append(Path(f"M{'L'.join(upper + lower)}Z", "band", tone))
        if len(run) == 1:  # an area of one point has no width
            x, top, bottom = places[run[0]], upper[0].split()[1], lower[0].split()[1]
            drawing.paths.append(Path(f"M{x} {top}V{bottom}", "whisker", tone))


def _add_target(drawing: Drawing, target: Target | None, y: Scale) -> None:
    if target is None:
        return
    plot, at = drawing.plot, y.place(target.value)
    drawing.paths.append(Path(f"M{plot.x} {at}H{plot.right}", "target"))
    # Below the line if there is no room above it.
    label_at = at - 4 if at - plot.y > LINE else at + 12
    drawing.texts.append(Text(plot.x + 4, round(label_at, 1), target.label, "note"))


def _add_end_labels(drawing: Drawing, series: Sequence[Series], y: Scale) -> None:
    """Write the names at the ends of the lines, moved apart if they would overlap."""
    wanted = []
    for each in series:
        last = next((value for value in reversed(each.values) if value is not None), 0.0)
        wanted.append((y.place(last) + 4, each.name, each.tone))
    _add_labels(drawing, wanted)


def _add_stack_labels(drawing: Drawing, series: Sequence[Series], y: Scale) -> None:
    """Write the names beside the last bar that has values."""
    last = next((found for found in reversed(_stack(series)) if found), [0.0] * len(series))
    base, wanted = 0.0, []
    for value, each in zip(last, series, strict=True):
        wanted.append((y.place(base + value / 2) + 4, each.name, each.tone))
        base += value
    _add_labels(drawing, wanted)


def _add_labels(drawing: Drawing, wanted: Sequence[tuple[float, str, str]]) -> None:
    plot, labels = drawing.plot, sorted(wanted)
    places, top = [], plot.y + 4.0
    for at, _, _ in labels:
        places.append(max(at, top))
        top = places[-1] + LINE
    bottom = plot.bottom + 4.0
    for index in reversed(range(len(places))):  # back up from the lower edge
        places[index] = min(places[index], bottom)
        bottom = places[index] - LINE
    room = int((drawing.width - plot.right - GAP) / BOLD)
    for at, (_, name, tone) in zip(places, labels, strict=True):
        text = _shorten(name, room)
        x = round(plot.right + GAP, 1)
        drawing.texts.append(Text(x, round(at, 1), text, "name", tone=tone))


def _stack(series: Sequence[Series]) -> list[list[float]]:
    """Return the values of each period; an empty list where no series has data."""
    count = len(series[0].values) if series else 0
    return [
        []
        if all(each.values[index] is None for each in series)
        else [each.values[index] or 0.0 for each in series]
        for index in range(count)
    ]


def _add_stacks(
    drawing: Drawing, series: Sequence[Series], places: Sequence[float], y: Scale, *, width: float
) -> None:
    for x, values in zip(places, _stack(series), strict=True):
        base = 0.0
        for rank, (value, each) in enumerate(
            zip(values or [0.0] * len(series), series, strict=True)
        ):
            bottom, top = y.place(base), y.place(base + value)
            base += value
            if bottom > top:
                box = (round(x - width / 2, 1), top, round(width, 1), round(bottom - top, 1))
                drawing.boxes.append(Box(*box, kind="bar", tone=each.tone, rank=rank))


def _add_hovers(
    drawing: Drawing,
    chart: LineChart | StackedBars | Histogram,
    names: Sequence[str],
    places: Sequence[float],
) -> None:
    """Add a tooltip with all values of each period or bin."""
    step, plot = _step(drawing, len(places)), drawing.plot
    for index, x in enumerate(places):
        values = [
            f"{series.name} {_format(series.values[index], chart)}" for series in chart.series
        ]
        drawing.hovers.append(
            Hover(
                round(x - step / 2, 1),
                plot.y,
                round(step, 1),
                plot.height,
                f"{names[index]}: {', '.join(values)}",
            )
        )


def _format(value: float | None, chart: Chart) -> str:
    return NO_DATA if value is None else chart.format_value(value)


# --- Sparklines ---


def _draw_sparkline(chart: Sparkline) -> Drawing:
    width, height = SPARK
    drawing = Drawing(width, height, Box(2, 4, width - 6, height - 8, "plot"))
    plot = drawing.plot
    known = [value for value in chart.values if value is not None]
    bounds = known + ([chart.target] if chart.target is not None else [])
    # The line starts from zero: a small change may not look like a large one.
    y = Scale(min([0.0, *bounds]), max([0.0, *bounds]) or 1.0, plot.bottom, plot.y)
    step = plot.width / max(1, len(chart.values) - 1)
    places = [round(plot.x + index * step, 1) for index in range(len(chart.values))]
    drawing.grid.append(Path(f"M{plot.x} {plot.bottom}H{plot.right}", "grid"))
    if chart.target is not None:
        drawing.paths.append(Path(f"M{plot.x} {y.place(chart.target)}H{plot.right}", "target"))
    _add_line(drawing, Series(chart.title, chart.values, chart.tone), places, y)
    if known and chart.values[-1] is not None:
        drawing.dots.append(Dot(places[-1], y.place(chart.values[-1]), r=2.5, tone=chart.tone))
    return drawing


# --- Estimates ---


def _draw_intervals(chart: IntervalDots, size: Size) -> Drawing:
    """Lay out a row for each estimate; with little room, its text stands above its interval."""
    width, is_small = SIZES[size][0], size == Size.SMALL
    row_height = ROW_SMALL if is_small else ROW
    notes = [_describe(row, chart) for row in chart.rows]
    labels = [_shorten(row.label, _count_letters(width, note)) for row, note in _zip(chart, notes)]
    left = 8.0 if is_small else max(map(len, labels), default=0) * LETTER + 2 * GAP
    right = 16.0 if is_small else max(map(len, notes), default=0) * LETTER + GAP
    height = TOP + row_height * len(labels) + BOTTOM
    plot = Box(
        *(round(left, 1), TOP, round(width - left - right, 1), row_height * len(labels)), "plot"
    )
    drawing = Drawing(width, height, plot)
    x = _add_estimate_axis(drawing, chart)
    for index, (row, note) in enumerate(_zip(chart, notes)):
        top = plot.y + row_height * index
        at = top + row_height - 10 if is_small else top + row_height / 2
        text_at = at - 10 if is_small else at + 4
        name = Text(
            *(0 if is_small else round(plot.x - GAP * 1.5, 1), text_at, labels[index], "name"),
            anchor="start" if is_small else "end",
        )
        value = Text(
            *(width if is_small else plot.right + GAP, text_at, note, "note"),
            anchor="end" if is_small else "start",
        )
        drawing.texts += [name, value]
        _add_interval(drawing, row, x, at)
        drawing.hovers.append(Hover(0, top, width, row_height, f"{row.label}: {note}"))
    return drawing


def _zip(chart: IntervalDots, notes: Sequence[str]) -> list[tuple[IntervalRow, str]]:
    return list(zip(chart.rows, notes, strict=True))


def _count_letters(width: int, note: str) -> int:
    """Return the letters of a label that fit beside a note."""
    return min(LABEL_MAX, int(width / LETTER) - len(note) - 2)


def _add_estimate_axis(drawing: Drawing, chart: IntervalDots) -> Scale:
    plot = drawing.plot
    known = [row.high for row in chart.rows if row.high is not None]
    if chart.average:
        known.append(chart.average.value)
    high = chart.high if chart.high is not None else max([chart.low, *known])
    ticks = find_ticks(chart.low, high, count=3, steps=chart.steps)
    x = Scale(ticks[0], ticks[-1], plot.x, plot.right)
    for value in ticks:
        at = x.place(value)
        drawing.grid.append(Path(f"M{at} {plot.y}V{plot.bottom}", "grid"))
        label = chart.format_value(value)
        drawing.texts.append(Text(at, plot.bottom + 16, label, "tick", "middle"))
    if chart.average:
        at = x.place(chart.average.value)
        drawing.paths.append(Path(f"M{at} {plot.y - 4}V{plot.bottom}", "target"))
        # A label may not be cut at the edges.
        half = len(chart.average.label) * LETTER / 2
        at = round(min(max(at, half), drawing.width - half), 1)
        drawing.texts.append(Text(at, plot.y - 5, chart.average.label, "note", "middle"))
    return x


def _add_interval(drawing: Drawing, row: IntervalRow, x: Scale, at: float) -> None:
    if row.low is not None and row.high is not None:
        path = f"M{x.place(row.low)} {at}H{x.place(row.high)}"
        drawing.paths.append(Path(path, "whisker", row.tone))
    if row.value is not None:
        drawing.dots.append(Dot(x.place(row.value), at, r=4, tone=row.tone))


def _describe(row: IntervalRow, chart: Chart) -> str:
    if row.value is None:
        return f"not known, n {row.n:,}"
    if row.low is None or row.high is None:
        return f"{chart.format_value(row.value)}, n {row.n:,}"
    ends = f"{chart.format_value(row.low)} to {chart.format_value(row.high)}"
    return f"{chart.format_value(row.value)} ({ends}), n {row.n:,}"


def _draw_reliability(chart: Reliability) -> Drawing:
    width, height = SQUARE
    plot = Box(44, TOP, width - 44 - 12, height - TOP - 38, "plot")
    drawing = Drawing(width, height, plot)
    x, y = Scale(0, 1, plot.x, plot.right), Scale(0, 1, plot.bottom, plot.y)
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        label, across, up = chart.format_value(value), x.place(value), y.place(value)
        drawing.grid.append(Path(f"M{plot.x} {up}H{plot.right}", "grid"))
        drawing.texts.append(Text(plot.x - GAP, up + 4, label, "tick", "end"))
        drawing.texts.append(Text(across, plot.bottom + 15, label, "tick", "middle"))
    drawing.texts.append(Text(plot.right, plot.bottom + 31, "stated", "note", "end"))
    drawing.texts.append(Text(plot.x + 4, plot.y + 10, "observed", "note"))
    drawing.paths.append(Path(f"M{plot.x} {plot.bottom}L{plot.right} {plot.y}", "target"))
    for point in chart.points:
        at = x.place(point.stated)
        drawing.paths.append(
            Path(f"M{at} {y.place(point.low)}V{y.place(point.high)}", "whisker", "accent")
        )
        drawing.dots.append(Dot(at, y.place(point.observed), r=4, tone="accent"))
        ends = f"{chart.format_value(point.low)} to {chart.format_value(point.high)}"
        title = (
            f"stated {chart.format_value(point.stated)}, observed"
            f" {chart.format_value(point.observed)} ({ends}), n {point.n:,}"
        )
        drawing.hovers.append(Hover(at - 8, plot.y, 16, plot.height, title))
    return drawing


def _shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: max(1, limit - 1)]}…"
