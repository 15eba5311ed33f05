"""Execution of searches in the order of the queue: the highest risk first, then the oldest.

Only images that wait for a decision have this order: the queue's index holds no others, and a
decided image keeps the risk that it had. Like ``plan``, this walks over at most WINDOW images of
each status, unless the index of a selective condition finds all matches.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Q

from generation.core.db.keyset import rows_after
from moderation.models import Review
from moderation.models.reviews import ReviewQuerySet
from moderation.search import conditions, plan
from moderation.search.conditions import Condition, Named, Span

STATUSES = (Review.Status.PENDING, Review.Status.ESCALATED)
ORDER = ("-risk", "pk")
Place = tuple[int, int]  # risk and id of a review


@dataclass(frozen=True, slots=True)
class RiskMatches:
    """The assets found by one step of a search, and where the next step starts."""

    ids: list[int]
    further: Place | None = None
    ended_at_risk: int | None = None  # risk at which the window ended, if it did


def find_matches(
    asked: Sequence[Condition],
    *,
    statuses: Collection[Review.Status],
    span: Span,
    after: Place | None,
    limit: int,
) -> RiskMatches:
    """Return the first ``limit`` assets after a place that match all conditions."""
    rows = [_start(status, after) for status in statuses]
    floors = [floor for walk in rows if (floor := _find_floor(walk)) is not None]
    if floors or any(isinstance(condition, Named) for condition in asked):
        for condition in asked[: plan.CONDITIONS_TRIED]:
            ids = condition.ids(span)
            if ids is not None:
                among = Q(asset_id__in=conditions.id_list(ids))
                return _cut(_read(rows, asked, among, limit=limit), limit=limit)
    if not floors:
        return _cut(_read(rows, asked, Q(), limit=limit), limit=limit)
    # All walks end at the same place, so that the next step can continue there.
    risk, pk = end = min(floors, key=_sort_key)
    window = Q(risk__gte=risk) & (Q(risk__gt=risk) | Q(pk__lte=pk))
    found = _read(rows, asked, window, limit=limit)
    if len(found) > limit:
        return _cut(found, limit=limit)
    return RiskMatches([asset_id for _, asset_id in found], further=end, ended_at_risk=risk)


def _start(status: Review.Status, after: Place | None) -> ReviewQuerySet:
    rows = Review.objects.with_status(status)
    return (rows if after is None else rows_after(rows, ORDER, after)).order_by(*ORDER)


def _find_floor(rows: ReviewQuerySet) -> Place | None:
    """Return the place at which a walk must end, or None. Counts in the index alone."""
    return rows.values_list("risk", "pk")[plan.WINDOW - 1 : plan.WINDOW].first()


def _read(
    walks: Iterable[ReviewQuerySet], asked: Sequence[Condition], among: Q, *, limit: int
) -> list[tuple[Place, int]]:
    """Return the first matches of all walks in order, one more than ``limit`` if there are more."""
    found: list[tuple[Place, int]] = []
    for walk in walks:
        rows = walk.filter(among, *(condition.filter() for condition in asked))
        for risk, pk, asset_id in rows.values_list("risk", "pk", "asset_id")[: limit + 1]:
            found.append(((risk, pk), asset_id))
    return sorted(found, key=lambda match: _sort_key(match[0]))[: limit + 1]


def _cut(found: list[tuple[Place, int]], *, limit: int) -> RiskMatches:
    ids = [asset_id for _, asset_id in found[:limit]]
    return RiskMatches(ids, further=found[limit - 1][0] if len(found) > limit else None)


def _sort_key(place: Place) -> Place:
    return -place[0], place[1]
