"""How a search is carried out, so that it costs about the same at ten thousand images and at ten
million.

Newest first means by asset id, downwards. A walk over the newest images is fast when many match,
and reads all there are when none does; so it ends after WINDOW images and says so. The index of a
rare condition is fast when few match, and then the answer is complete. Which of the two is taken is
decided here, without the database's planner guessing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from django.db.models import QuerySet

from moderation.models import Review
from moderation.search import conditions
from moderation.search.conditions import Condition, Named, Span

# How many images a walk looks at: at a million of them and nothing that matches, some 40 ms of a
# core on SQLite.
WINDOW = 20_000
# How many conditions are asked whether they are rare: each is a query.
ASKED = 3
FIRST_PIECE = 2000


@dataclass(frozen=True, slots=True)
class SearchMatches:
    ids: list[int]  # of assets, newest first; one more than asked for when there are more
    ended_at: int | None = None  # the asset at which the window ended, when it ended the search
    looked_back_to: datetime | None = None  # when that one arrived


def find(asked: Sequence[Condition], *, span: Span, limit: int) -> SearchMatches:
    """The newest images in the span that all conditions are true of: up to ``limit`` and one."""
    floor, arrived_at = _floor(span)
    if floor is not None or any(isinstance(condition, Named) for condition in asked):
        for condition in asked[:ASKED]:
            ids = condition.ids(span)
            if ids is not None:
                others = [other for other in asked if other is not condition]
                return SearchMatches(
                    narrow(
                        sorted((i for i in ids if i in span), reverse=True), others, limit=limit + 1
                    )
                )
    rows = _walk(asked, Span(span.since if floor is None else floor, span.before))
    found = list(rows[: limit + 1])
    return SearchMatches(found, floor, arrived_at) if len(found) <= limit else SearchMatches(found)


def narrow(ids: Sequence[int], others: Sequence[Condition], *, limit: int) -> list[int]:
    """The first of these, in their order, that all other conditions are true of too."""
    if not others:
        return list(ids[:limit])
    found: list[int] = []
    rest = iter(ids)
    size = FIRST_PIECE
    while len(found) < limit and (piece := list(islice(rest, size))):
        rows = Review.objects.filter(
            *(other.filter() for other in others), asset_id__in=conditions.among(piece)
        )
        true = set(rows.values_list("asset_id", flat=True))
        found += [asset_id for asset_id in piece if asset_id in true]
        size = conditions.RARE
    return found[:limit]


def _walk(asked: Sequence[Condition], span: Span) -> QuerySet[Review, int]:
    rows = Review.objects.filter(*(condition.filter() for condition in asked))
    rows = rows.filter(asset_id__gte=span.since, asset_id__lt=span.before)
    return rows.order_by("-asset_id").values_list("asset_id", flat=True)


def _floor(span: Span) -> tuple[int, datetime] | tuple[None, None]:
    """Where a walk that begins at the top of this span has to end, and when that was; None if it
    may go to its bottom.

    The index alone counts, and the row is read for one.
    """
    at = _walk([], span)[WINDOW : WINDOW + 1]
    return Review.objects.filter(asset_id__in=at).values_list("asset_id", "created_at").first() or (
        None,
        None,
    )
