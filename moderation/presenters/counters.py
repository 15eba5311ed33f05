"""Counts in the sidebar and on the page Today: waiting reviews, and the user's decisions of today.

One prepared query returns all of them, because every open desk polls them every five seconds.
Waiting reviews are counted up to a limit, and today's decisions in a covering index.
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
from moderation.models import Decision, GoldenAnswer, Review, Verdict
from moderation.queues import QUEUES, Queue

if TYPE_CHECKING:
    from moderation.models.reviews import ReviewQuerySet

PAST = {Verdict.APPROVE: "Approved", Verdict.REJECT: "Rejected", Verdict.ESCALATE: "Escalated"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """The number of reviews in a queue."""

    queue: Queue
    count: str  # bounded, such as "1000+"
    since: datetime | None  # arrival of the oldest review


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """The counts of a user's queues and of their decisions of today."""

    depths: list[Depth]
    # Verdict, name, and number of decisions since midnight (UTC) that are in effect.
    verdicts: list[tuple[Verdict, str, int]]


def load_counts(user: User) -> Numbers:
    """Return a user's counts."""
    shown, now = queues.list_queues(user), timezone.now()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    found = iter(
        _build_query(tuple(queue.slug for queue in shown)).rows(
            user=user.pk, now=now, midnight=midnight
        )[0]
    )
    return Numbers(
        depths=[
            Depth(queue=queue, count=queues.format_bounded(next(found)), since=next(found))
            for queue in shown
        ],
        verdicts=[
            (verdict, name, next(found) + next(found) - next(found))
            for verdict, name in PAST.items()
        ],
    )


def count_queues(shown: Sequence[Queue], user: User) -> list[str]:
    """Return the bounded counts of queues, in one query."""
    if not shown:
        return []
    counts = [
        Counted(queue.reviews(user).values("pk")[: queues.COUNT_LIMIT + 1]) for queue in shown
    ]
    return [
        queues.format_bounded(found)
        for found in User.objects.filter(pk=user.pk).values_list(*counts).get()
    ]


@functools.cache
def _build_query(slugs: tuple[str, ...]) -> PreparedQuery[Any]:
    def build(user: int, midnight: datetime, now: datetime | None = None) -> QuerySet[Any]:
        waiting = [
            QUEUES[slug].select(Review.objects.all(), user, now or midnight) for slug in slugs
        ]
        columns = [
            *(column for rows in waiting for column in _count_queue(rows)),
            *_count_verdicts(midnight, user),
        ]
        return User.objects.filter(pk=user).values_list(*columns)

    # Only the queue of held reviews depends on the current time.
    return PreparedQuery(
        build, user=int, midnight=datetime, **({"now": datetime} if "mine" in slugs else {})
    )


def _count_queue(rows: ReviewQuerySet) -> Iterable[Subquery]:
    """Yield the count, and the arrival of the oldest review: ids follow arrival."""
    yield Counted(rows.values("pk")[: queues.COUNT_LIMIT + 1])
    yield Subquery(rows.order_by("pk").values("created_at")[:1])


def _count_verdicts(midnight: datetime, user: int) -> Iterable[Subquery]:
    """Yield per verdict the number of the user's decisions and of their reversals."""
    of_today = Decision.objects.filter(created_at__gte=midnight).order_by("created_at", "sequence")
    rows = Decision.objects.filter(sequence__gte=Subquery(of_today.values("sequence")[:1]))
    taken_back = rows.filter(verdict=Verdict.REVERSE).values("reverses")
    for verdict in PAST:
        # Golden images count as any other: they must not be told apart.
        golden = GoldenAnswer.objects.filter(
            person=user, answered_at__gte=midnight, verdict=verdict
        )
        mine = rows.filter(reviewer=user, verdict=verdict).values("pk")
        yield Counted(mine)
        yield Counted(golden.values("pk"))
        yield Counted(mine.filter(pk__in=taken_back))
