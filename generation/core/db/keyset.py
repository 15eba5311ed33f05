"""Keyset pagination: page 500 costs as much as page 1, and new rows move no page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet

Row = TypeVar("Row", bound=Model)
Rows = TypeVar("Rows", bound="QuerySet[Any]")


def rows_after(rows: Rows, order: Sequence[str], key: Sequence[Any]) -> Rows:
    """Keep the rows that follow the key in this order.

    ``order`` is that of ``order_by``, with a unique last column, and ``key`` holds the values of
    the last row of the page before. The caller still sorts.
    """
    return rows.filter(_follows(order, key))


def read_page(rows: QuerySet[Row], size: int) -> tuple[list[Row], bool]:
    """Return the first ``size`` rows, and whether more follow. Reads one more row than that."""
    found = list(rows[: size + 1])
    return found[:size], len(found) > size


def _follows(order: Sequence[str], key: Sequence[Any]) -> Q:
    name, value = order[0], key[0]
    lookup = f"{name[1:]}__lt" if name.startswith("-") else f"{name}__gt"
    beyond = Q(**{lookup: value})
    if len(order) == 1:
        return beyond
    # The first condition is redundant: it lets the database seek in the index, which neither
    # SQLite nor PostgreSQL does for OR. A comparison of rows cannot mix directions.
    return Q(**{f"{lookup}e": value}) & (beyond | _follows(order[1:], key[1:]))
