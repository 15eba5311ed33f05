"""Layout of charts: scales, gaps, labels and limits, in coordinates."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from moderation.presenters.charts import (
    Band,
    Bin,
    Histogram,
    IntervalDots,
    IntervalRow,
    LineChart,
    Marker,
    Series,
    Size,
    Sparkline,
    StackedBars,
    Step,
    Target,
    TimeAxis,
    build_table,
    draw,
)
from moderation.presenters.charts.formats import (
    MINUTE_STEPS,
    format_minutes,
    format_seconds,
    format_share,
)
from moderation.presenters.charts.scales import Scale, find_ticks, find_time_ticks

MIDNIGHT = datetime(2026, 11, 30, tzinfo=UTC)


def make_hours(count: int) -> TimeAxis:
    return TimeAxis([MIDNIGHT + timedelta(hours=hour) for hour in range(count)], Step.HOUR)


def make_lines(*series: Series, **options: object) -> LineChart:
    axis = make_hours(len(series[0].values))
    return LineChart(name="n", title="T", summary="S.", axis=axis, series=series, **options)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 87, [0, 50, 100]),
        (0, 100, [0, 50, 100]),
        (0, 0, [0, 1]),
        (0, 0.31, [0, 0.2, 0.4]),
        (-0.4, 1, [-0.5, 0, 0.5, 1]),
    ],
)
def test_ticks_are_round_and_enclose_the_values(
    low: float, high: float, expected: list[float]
) -> None:
    assert find_ticks(low, high, count=3, is_whole=high == 0) == expected


def test_ticks_of_durations_are_whole_hours() -> None:
    ticks = find_ticks(0, 190, count=3, steps=MINUTE_STEPS)

    assert [format_minutes(tick) for tick in ticks] == ["0 min", "2 h", "4 h"]


def test_counts_have_no_fractional_ticks() -> None:
    assert find_ticks(0, 2, count=3, is_whole=True) == [0, 1, 2]


def test_ticks_of_rounded_figures_below_one_have_different_labels() -> None:
    chart = make_lines(Series("a", [0.2, 0.4]), format_value=lambda value: str(round(value)))

    (drawing,) = draw(chart)

    labels = [text.text for text in drawing.texts if text.anchor == "end"]
    assert labels == ["0", "1"]


def test_values_beyond_the_scale_stay_inside_the_plot() -> None:
    scale = Scale(0, 10, start=100, end=0)

    assert (scale.place(0), scale.place(5), scale.place(40)) == (100, 50, 0)


def test_time_labels_name_the_day_at_midnight() -> None:
    assert find_time_ticks(make_hours(25), room=3) == [
        (0, "30 Nov"),
        (12, "12:00"),
        (24, "1 Dec"),
    ]


def test_newest_day_has_a_label() -> None:
    starts = [MIDNIGHT - timedelta(days=13 - day) for day in range(14)]

    ticks = find_time_ticks(TimeAxis(starts, Step.DAY), room=5)

    assert ticks[-1] == (13, "30 Nov")
    assert len(ticks) == 5


def test_missing_data_breaks_the_line_and_is_shaded() -> None:
    (drawing,) = draw(make_lines(Series("a", [1, 2, None, None, 4, 5])))

    (line,) = [path for path in drawing.paths if path.kind == "line"]
    (gap,) = [box for box in drawing.boxes if box.kind == "gap"]
    assert line.d.count("M") == 2
    assert gap.width == pytest.approx(drawing.plot.width / 3, abs=0.2)


def test_zero_is_drawn_as_a_value_and_not_as_a_gap() -> None:
    (drawing,) = draw(make_lines(Series("a", [0, 0, 0])))

    assert not drawing.boxes
    assert [path.kind for path in drawing.paths] == ["line"]


def test_single_value_between_gaps_is_a_dot() -> None:
    (drawing,) = draw(make_lines(Series("a", [None, 3, None])))

    (dot,) = drawing.dots
    assert dot.x == pytest.approx(drawing.plot.x + drawing.plot.width / 2, abs=0.1)
    assert not [path for path in drawing.paths if path.kind == "line"]


def test_lines_have_different_dashes_and_labels_that_do_not_overlap() -> None:
    series = [Series(name, [5, 5]) for name in ("first", "second", "third")]

    (drawing,) = draw(make_lines(*series))

    labels = sorted(text.y for text in drawing.texts if text.kind == "name")
    assert [path.rank for path in drawing.paths] == [0, 1, 2]
    assert all(lower - upper >= 13 for upper, lower in itertools.pairwise(labels))
    assert all(text.y <= drawing.plot.bottom + 4 for text in drawing.texts if text.kind == "name")


def test_axis_reaches_the_target_line() -> None:
    (drawing,) = draw(make_lines(Series("a", [1, 2]), target=Target(60, "1 h")))

    (target,) = [path for path in drawing.paths if path.kind == "target"]
    assert target.d.startswith(f"M{drawing.plot.x} {drawing.plot.y}")


def test_band_follows_the_gaps_of_its_line() -> None:
    band = Band("interval", [0.2, None, 0.4, 0.4], [0.6, None, 0.8, 0.8])

    (drawing,) = draw(make_lines(Series("a", [0.4, None, 0.6, 0.6]), band=band, ceiling=1.0))

    assert len([path for path in drawing.paths if path.kind == "band"]) == 2


def test_stacked_bars_stand_on_each_other() -> None:
    chart = StackedBars(
        name="n",
        title="T",
        summary="S.",
        axis=make_hours(2),
        series=[Series("low", [4, None]), Series("high", [6, None])],
    )

    (drawing,) = draw(chart)

    low, high = [box for box in drawing.boxes if box.kind == "bar"]
    assert (low.bottom, high.bottom) == (drawing.plot.bottom, low.y)
    assert high.height / low.height == pytest.approx(1.5, abs=0.02)
    assert drawing.patterns == [("accent", 1)]


def test_histogram_places_markers_on_the_axis_of_its_bins() -> None:
    chart = Histogram(
        name="n",
        title="T",
        summary="S.",
        bins=[Bin(0, 50), Bin(50, 100)],
        series=[Series("approved", [3, 1]), Series("rejected", [0, 2])],
        markers=[Marker(50, "review from 50")],
    )

    (drawing,) = draw(chart)

    (marker,) = [path for path in drawing.paths if path.kind == "marker"]
    assert float(marker.d[1:].split()[0]) == pytest.approx(
        drawing.plot.x + drawing.plot.width / 2, abs=0.1
    )
    assert drawing.hovers[1].title == "50 to 100: approved 1, rejected 2"


def test_unknown_estimate_is_named_and_has_no_dot() -> None:
    rows = [
        IntervalRow("Violence", 0.2, 0.1, 0.4, 50),
        IntervalRow("Drugs", None, None, None, 3, url="/drugs/"),
    ]
    chart = IntervalDots(name="n", title="T", summary="S.", rows=rows, size=Size.WIDE)

    wide, small = draw(chart)

    assert (wide.size, small.size, len(wide.dots)) == ("wide", "small", 1)
    assert "not known, n 3" in [text.text for text in wide.texts]
    assert all(text.x <= small.width for text in small.texts)
    table = build_table(chart)
    assert table is not None
    assert table.rows[1].cells == ["no data", "no data", "no data", "3"]
    assert table.rows[1].url == "/drugs/"


def test_sparkline_ends_with_a_dot_unless_the_newest_value_is_missing() -> None:
    ends = [
        len(draw(Sparkline(name="n", title="T", summary="S.", values=values))[0].dots)
        for values in ([1, 2, 3], [1, 2, None])
    ]

    assert ends == [1, 0]


def test_table_has_the_newest_period_first_and_names_missing_data() -> None:
    table = build_table(make_lines(Series("a", [1, None]), Series("b", [1240, 0])))

    assert table is not None
    assert table.columns == ["Period", "a", "b"]
    assert [(row.name, row.cells) for row in table.rows] == [
        ("30 Nov 01:00", ["no data", "0"]),
        ("30 Nov 00:00", ["1", "1,240"]),
    ]


def test_numbers_read_well() -> None:
    assert [format_share(share) for share in (0, 0.031, 0.125, 0.5, 1)] == [
        "0 %",
        "3.1 %",
        "12 %",
        "50 %",
        "100 %",
    ]
    assert [format_seconds(value) for value in (0.25, 1.5, 40, 300)] == [
        "250 ms",
        "1.5 s",
        "40 s",
        "5 min",
    ]
