"""Queues: named queries over reviews, not containers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moderation.models import Review
from moderation.models.reviews import ReviewQuerySet

if TYPE_CHECKING:
    from django.contrib.auth.models import User

COUNT_LIMIT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    slug: str
    name: str
    about: str
    select: Callable[[ReviewQuerySet], ReviewQuerySet]
    permission: str = "moderation.decide_review"

    def reviews(self, user: User) -> ReviewQuerySet:
        """The reviews of this queue, none for people it is not meant for."""
        rows = Review.objects.all()
        return self.select(rows) if user.has_perm(self.permission) else rows.none()

    def is_open_to(self, user: User) -> bool:
        return user.has_perm(self.permission)


QUEUES: dict[str, Queue] = {
    queue.slug: queue
    for queue in (
        Queue(
            slug="waiting",
            name="Waiting",
            about="Everything a person has to decide, riskiest first.",
            select=lambda rows: rows.filter(status=Review.Status.PENDING),
        ),
        Queue(
            slug="escalated",
            name="Escalated",
            about="What moderators passed on to seniors.",
            select=lambda rows: rows.filter(status=Review.Status.ESCALATED),
            permission="moderation.decide_escalated_review",
        ),
    )
}


def for_user(user: User) -> list[Queue]:
    return [queue for queue in QUEUES.values() if queue.is_open_to(user)]


def bounded_count(rows: ReviewQuerySet) -> str:
    """Count up to a limit, so that a long queue costs no more than a short one."""
    found = rows.values("pk")[: COUNT_LIMIT + 1].count()
    return f"{COUNT_LIMIT}+" if found > COUNT_LIMIT else str(found)
