from __future__ import annotations

from itertools import product

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection

from generation.core.db.keyset import read_page, rows_after

pytestmark = pytest.mark.django_db


@pytest.fixture
def rows():
    """Create rows with equal values in both text columns, so that a page ends between equals."""
    ContentType.objects.all().delete()
    ContentType.objects.bulk_create(
        ContentType(app_label=app, model=f"{model}{n}")
        for n, (app, model) in enumerate(product("aab", "xyx"))
    )
    return ContentType.objects.all()


@pytest.mark.parametrize(
    "order",
    [
        ("pk",),
        ("-pk",),
        ("-app_label", "pk"),
        ("-app_label", "-pk"),
        ("app_label", "pk"),
        ("app_label", "-model", "pk"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 4, 9])
def test_pages_contain_every_row_once_in_order(rows, order: tuple[str, ...], size: int) -> None:
    every = [row.pk for row in rows.order_by(*order)]
    seen: list[int] = []
    key: list[object] = []
    more = True
    while more:
        left = rows_after(rows, order, key) if key else rows
        page, more = read_page(left.order_by(*order), size)
        seen += [row.pk for row in page]
        key = [getattr(page[-1], name.lstrip("-")) for name in order]

    assert len(every) == 9
    assert seen == every


def test_page_that_ends_with_the_last_row_has_no_next_page(rows) -> None:
    assert read_page(rows, 9)[1] is False
    assert read_page(rows, 8)[1] is True
    assert read_page(rows.none(), 8) == ([], False)


def test_rows_after_uses_an_index_range_on_the_first_column(rows) -> None:
    if connection.vendor != "sqlite":
        # PostgreSQL plans by its statistics: it reads a table of nine rows whole.
        pytest.skip("the plan of so few rows shows an index on SQLite only")
    found = rows_after(rows, ("-app_label", "pk"), ("b", 1)).order_by("-app_label", "pk")

    assert "app_label<?" in found.explain()
