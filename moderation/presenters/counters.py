"""The numbers beside the picture and on the page Today: what waits for somebody, and what they have
decided today.

All of them in one query whose text is kept, because every open desk asks for them every five
seconds. What waits is counted up to a limit; today's decisions in an index that holds all that is
asked of them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import User
from django.db.models import QuerySet, Subquery
from django.utils import timezone

from generation.core.db.functions import Counted
from generation.core.db.prepared.query import PreparedQuery
from moderation import queues
from moderation.models import Decision, Review, Verdict
from moderation.queues import QUEUES, Queue

if TYPE_CHECKING:
    from moderation.models.reviews import ReviewQuerySet

PAST = {Verdict.APPROVE: "Approved", Verdict.REJECT: "Rejected", Verdict.ESCALATE: "Escalated"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    queue: Queue
    count: str  # up to the limit
    since: datetime | None  # when the oldest of it came


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    depths: list[Depth]
    verdicts: list[
        tuple[Verdict, str, int]
    ]  # with its name, and how many since midnight (UTC) that still stand


def numbers_of(user: User) -> Numbers:
    shown, now = queues.for_user(user), timezone.now()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    found = iter(
        _numbers(tuple(queue.slug for queue in shown)).rows(
            user=user.pk, now=now, midnight=midnight
        )[0]
    )
    return Numbers(
        depths=[
            Depth(queue=queue, count=queues.bounded(next(found)), since=next(found))
            for queue in shown
        ],
        verdicts=[(verdict, name, next(found) - next(found)) for verdict, name in PAST.items()],
    )


def count_each(shown: Sequence[Queue], user: User) -> list[str]:
    """Count what waits in each of these queues, up to the limit, in one query."""
    if not shown:
        return []
    counts = [
        Counted(queue.reviews(user).values("pk")[: queues.COUNT_LIMIT + 1]) for queue in shown
    ]
    return [
        queues.bounded(found)
        for found in User.objects.filter(pk=user.pk).values_list(*counts).get()
    ]


@functools.cache
def _numbers(slugs: tuple[str, ...]) -> PreparedQuery[Any]:
    def build(user: int, midnight: datetime, now: datetime | None = None) -> QuerySet[Any]:
        waiting = [
            QUEUES[slug].select(Review.objects.all(), user, now or midnight) for slug in slugs
        ]
        columns = [
            *(column for rows in waiting for column in _depth(rows)),
            *_since(midnight, user),
        ]
        return User.objects.filter(pk=user).values_list(*columns)

    # What somebody holds is the only queue that asks what the time is.
    return PreparedQuery(
        build, user=int, midnight=datetime, **({"now": datetime} if "mine" in slugs else {})
    )


def _depth(rows: ReviewQuerySet) -> Iterable[Subquery]:
    """How many, and when the oldest came: ids follow arrival."""
    yield Counted(rows.values("pk")[: queues.COUNT_LIMIT + 1])
    yield Subquery(rows.order_by("pk").values("created_at")[:1])


def _since(midnight: datetime, user: int) -> Iterable[Subquery]:
    """For each verdict how often they have given it, and how often that was taken back."""
    of_today = Decision.objects.filter(created_at__gte=midnight).order_by("created_at", "sequence")
    rows = Decision.objects.filter(sequence__gte=Subquery(of_today.values("sequence")[:1]))
    taken_back = rows.filter(verdict=Verdict.REVERSE).values("reverses")
    for verdict in PAST:
        mine = rows.filter(reviewer=user, verdict=verdict).values("pk")
        yield Counted(mine)
        yield Counted(mine.filter(pk__in=taken_back))
