"""Charts as data: pure descriptions, and functions that lay them out for SVG.

Describe a chart (``charts.py``), and print it with ``{% chart figure %}`` of the template library
``desk``. ``layout.draw`` returns shapes with coordinates, and ``templates/jinja2/charts/`` prints
them::

    LineChart(
        name="arrivals",  # a slug, unique in the page
        title="Arrivals and decisions",
        summary="Arrivals were between 3 and 40 an hour; decisions kept up.",
        axis=TimeAxis(starts, Step.HOUR),
        series=[Series("arrivals", counts), Series("decisions", decided, Tone.APPROVE)],
        target=Target(60, "target"),
    )

None is a gap; zero is a value. ``size=Size.WIDE`` is for a full column, else the chart is a cell of
``<div class="charts">``, the grid of small multiples.
"""

from __future__ import annotations

from moderation.presenters.charts.charts import (
    Band,
    Bin,
    Chart,
    Histogram,
    IntervalDots,
    IntervalRow,
    LineChart,
    Marker,
    Reliability,
    ReliabilityPoint,
    Series,
    Size,
    Sparkline,
    StackedBars,
    Step,
    Target,
    TimeAxis,
    Tone,
)
from moderation.presenters.charts.layout import draw
from moderation.presenters.charts.shapes import Drawing
from moderation.presenters.charts.tables import Table, build_table, list_values

__all__ = [
    "Band",
    "Bin",
    "Chart",
    "Drawing",
    "Histogram",
    "IntervalDots",
    "IntervalRow",
    "LineChart",
    "Marker",
    "Reliability",
    "ReliabilityPoint",
    "Series",
    "Size",
    "Sparkline",
    "StackedBars",
    "Step",
    "Table",
    "Target",
    "TimeAxis",
    "Tone",
    "build_table",
    "draw",
    "list_values",
]
