"""The exported tables: decisions, and images with their decision in effect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connections
from django.db.models import QuerySet

from moderation.models.decisions import DecisionQuerySet
from moderation.models.reviews import ReviewQuerySet
from moderation.services.exports.columns import (
    DECISION_COLUMNS,
    EVIDENCE_COLUMNS,
    IMAGE_COLUMNS,
    IN_FORCE,
    Column,
    LookupColumn,
    below,
    build_finding,
    build_hold,
    build_seed,
)
from moderation.services.exports.lookups import EVIDENCE, IN_EFFECT, Lookup

BATCH_ROWS = 500  # rows read and sent at a time
PAGE_ROWS = 5000  # rows of a query behind a connection pooler


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A query with the columns that it reads, and lookups of further columns."""

    rows: QuerySet[Any]
    columns: tuple[Column, ...]
    lookups: tuple[Lookup, ...] = ()
    review: str = ""  # the field path of the review
    key: str = "pk"  # unique; the rows are in its order

    @property
    def _all_columns(self) -> tuple[Column | LookupColumn, ...]:
        looked_up = (column for lookup in self.lookups for column in lookup.columns)
        return (*self.columns, *looked_up)

    @property
    def headers(self) -> list[str]:
        return [column.header for column in self._all_columns]

    @property
    def kinds(self) -> list[str]:
        return [column.kind for column in self._all_columns]

    @property
    def is_on_sqlite(self) -> bool:
        return connections[self.rows.db].vendor == "sqlite"

    def iter_batches(self) -> Iterator[Sequence[Sequence[Any]]]:
        """Yield rows in batches: values of ``columns`` as the driver returns them, then lookups."""
        for batch in self._iter_read():
            yield self._look_up(batch) if self.lookups else batch

    def _iter_read(self) -> Iterator[Sequence[Sequence[Any]]]:
        keys = [self.review + lookup.key for lookup in self.lookups]
        names = [*(column.path for column in self.columns), *keys]
        rows = self.rows.order_by(self.key)
        settings = connections[rows.db].settings_dict
        if settings.get("DISABLE_SERVER_SIDE_CURSORS"):
            # Behind a connection pooler, a server-side cursor ends with its transaction, and a
            # client-side one would hold all rows in memory.
            yield from self._iter_pages(rows, names)
        else:
            yield from self._execute(rows.values_list(*names), chunked_fetch=True)

    def _iter_pages(
        self, rows: QuerySet[Any], names: Sequence[str]
    ) -> Iterator[Sequence[Sequence[Any]]]:
        page = rows
        while True:
            last, count = None, 0
            query = page.values_list(*names, self.key)[:PAGE_ROWS]
            for batch in self._execute(query, chunked_fetch=False):
                last, count = batch[-1][-1], count + len(batch)
                yield [row[:-1] for row in batch]
            if count < PAGE_ROWS:
                return
            page = rows.filter(**{f"{self.key}__gt": last})

    def _execute(
        self, rows: QuerySet[Any], *, chunked_fetch: bool
    ) -> Iterator[Sequence[Sequence[Any]]]:
        # Execute the compiled query directly: the queryset's value converters cost more than all
        # the rest here.
        compiler = rows.query.get_compiler(rows.db)
        yield from compiler.execute_sql(chunked_fetch=chunked_fetch, chunk_size=BATCH_ROWS) or ()

    def _look_up(self, batch: Sequence[Sequence[Any]]) -> list[list[Any]]:
        width = len(self.columns)
        rows = [list(row[:width]) for row in batch]
        for at, lookup in enumerate(self.lookups, width):
            found = lookup.load({row[at] for row in batch if row[at] is not None})
            empty = (None,) * len(lookup.columns)
            for cells, row in zip(rows, batch, strict=True):
                cells += found.get(row[at], empty)
        return rows


def build_decision_table(decisions: DecisionQuerySet, *, evidence: bool = False) -> Table:
    """Return the table of these decisions, oldest first."""
    review = "review__"
    rows = decisions.annotate(
        seed=build_seed(review),
        in_force=IN_FORCE,
        finding=build_finding(review),
        on_hold=build_hold(review),
    )
    extra = below(review, EVIDENCE_COLUMNS) if evidence else ()
    return Table(
        rows=rows,
        key="sequence",
        columns=(*DECISION_COLUMNS, *extra),
        lookups=EVIDENCE if evidence else (),
        review=review,
    )


def build_image_table(reviews: ReviewQuerySet, *, evidence: bool = False) -> Table:
    """Return the table of these images in order of arrival, decided or not."""
    rows = reviews.annotate(seed=build_seed(""), finding=build_finding(""), on_hold=build_hold(""))
    return Table(
        rows=rows,
        columns=(*IMAGE_COLUMNS, *(EVIDENCE_COLUMNS if evidence else ())),
        lookups=(*IN_EFFECT, *(EVIDENCE if evidence else ())),
    )
