"""Charts as markup: text alternative, table, and no style attribute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

from moderation.presenters.charts import (
    LineChart,
    Series,
    Size,
    Sparkline,
    StackedBars,
    Step,
    TimeAxis,
)
from moderation.templatetags.desk import chart

DAYS = TimeAxis(
    [datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=day) for day in range(3)], Step.DAY
)


class Collector(HTMLParser):
    """Collects elements with their attributes."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def find(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_chart_has_a_text_alternative_and_a_table() -> None:
    figure = LineChart(
        name="arrivals",
        title="Arrivals",
        summary='Between 1 and 3 a day, "quoted" <b>.',
        axis=DAYS,
        series=[Series("arrivals", [1, None, 3])],
    )

    page = Collector(chart(figure))

    (drawing,) = page.find("svg")
    assert drawing["role"] == "img"
    assert drawing["aria-label"] == 'Arrivals. Between 1 and 3 a day, "quoted" <b>.'
    assert {cell["scope"] for cell in page.find("th")} == {"col", "row"}
    assert len(page.find("caption")) == 1
    assert not page.find("b")
    assert not [attributes for _, attributes in page.elements if "style" in attributes]


def test_wide_chart_has_a_variant_for_narrow_places_with_its_own_patterns() -> None:
    figure = StackedBars(
        name="settled",
        title="Settled",
        summary="S.",
        axis=DAYS,
        size=Size.WIDE,
        series=[Series("policy", [1, 2, 3]), Series("people", [1, 2, 3])],
    )

    page = Collector(chart(figure, title=False))

    assert [each["data-variant"] for each in page.find("svg")] == ["wide", "small"]
    ids = [each["id"] for each in page.find("pattern")]
    assert len(ids) == len(set(ids)) == 2
    assert not page.find("figcaption")


def test_sparkline_is_one_image_without_a_table() -> None:
    figure = Sparkline(name="waiting", title="Waiting", summary="Now 3.", values=[1, 2, 3])

    page = Collector(chart(figure))

    assert [each["aria-label"] for each in page.find("svg")] == ["Waiting. Now 3."]
    assert not page.find("table")
