"""Execution of searches, at about the same cost for ten thousand and ten million images.

Results are ordered by descending asset id, which is newest first. A walk over the newest images is
fast if many match, but reads everything if none does; it stops after WINDOW images and reports
that. The index of a selective condition is fast if few match, and the result is complete. This
module chooses between the two; the database's planner would have to guess.
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

# Images per walk: with a million images and no match, about 40 ms of one core on SQLite.
WINDOW = 20_000
# Maximum number of conditions tried by their own index: each is a query.
CONDITIONS_TRIED = 3
FIRST_PIECE = 2000


@dataclass(frozen=True, slots=True)
class SearchMatches:
    """The ids found by one step of a search."""

    ids: list[int]  # asset ids, newest first; one more than requested if there are more
    ended_at: int | None = None  # asset id at which the window ended, if it did
    looked_back_to: datetime | None = None  # arrival of that asset


def find_matches(asked: Sequence[Condition], *, span: Span, limit: int) -> SearchMatches:
    """Return the newest assets in the span that match all conditions: up to ``limit`` + 1."""
    floor, arrived_at = _find_floor(span)
    if floor is not None or any(isinstance(condition, Named) for condition in asked):
        for condition in asked[:CONDITIONS_TRIED]:
            ids = condition.ids(span)
            if ids is not None:
                others = [other for other in asked if other is not condition]
                return SearchMatches(
                    filter_ids(
                        sorted((i for i in ids if i in span), reverse=True), others, limit=limit + 1
                    )
                )
    rows = _walk(asked, Span(span.since if floor is None else floor, span.before))
    found = list(rows[: limit + 1])
    return SearchMatches(found, floor, arrived_at) if len(found) <= limit else SearchMatches(found)


def filter_ids(ids: Sequence[int], others: Sequence[Condition], *, limit: int) -> list[int]:
    """Return the first ids, in their order, that match all other conditions too."""
    if not others:
        return list(ids[:limit])
    found: list[int] = []
    rest = iter(ids)
    size = FIRST_PIECE
    while len(found) < limit and (piece := list(islice(rest, size))):
        rows = Review.objects.filter(
            *(other.filter() for other in others), asset_id__in=conditions.id_list(piece)
        )
        true = set(rows.values_list("asset_id", flat=True))
        found += [asset_id for asset_id in piece if asset_id in true]
        size = conditions.RARE
    return found[:limit]


def _walk(asked: Sequence[Condition], span: Span) -> QuerySet[Review, int]:
    rows = Review.objects.filter(*(condition.filter() for condition in asked))
    rows = rows.filter(asset_id__gte=span.since, asset_id__lt=span.before)
    return rows.order_by("-asset_id").values_list("asset_id", flat=True)


def _find_floor(span: Span) -> tuple[int, datetime] | tuple[None, None]:
    """Return the id and arrival at which a walk from the top of the span must end, or None.

    Counts in the index alone and reads one row.
    """
    at = _walk([], span)[WINDOW : WINDOW + 1]
    return Review.objects.filter(asset_id__in=at).values_list("asset_id", "created_at").first() or (
        None,
        None,
    )
