"""Who works on what: leases on reviews, dealt in the order of a queue, several at a time."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connections, transaction
from django.db.models import Q, Subquery
from django.utils import timezone

from generation.models.prepared import Prepared
from moderation.models import Review
from moderation.models.reviews import CLAIM_LASTS, ReviewQuerySet
from moderation.queues import QUEUES, Queue

if TYPE_CHECKING:
    from django.contrib.auth.models import User

DEAL_MAX = 60
LINGERS = timedelta(seconds=30)


def deal(
    *, user: User, queue: Queue, count: int, skipped: Collection[int] = (), avoided: Collection[str] = ()
) -> list[Review]:
    """Claim up to ``count`` free reviews of a queue for this person, in the queue's order.

    One UPDATE decides who gets what, so two people are never dealt the same one, and nobody waits for anybody:
    PostgreSQL skips rows that are being dealt to somebody else, SQLite has one writer.
    """
    count = min(count, DEAL_MAX)
    if count < 1 or not queue.is_open_to(user):
        return []
    now = timezone.now()
    # The moment is the token by which the rows just taken are read again: nobody claims twice in one microsecond.
    until = now + CLAIM_LASTS
    with transaction.atomic():
        if skipped or avoided or queue.is_narrowed:
            rows = queue.work(user, avoided).exclude(pk__in=skipped)
            taken = _chosen(queue.ordered(rows), now, count).update(claimed_by=user, claimed_until=until)
        else:
            taken = _whole_queue(queue.slug, count).update(user=user.pk, now=now, until=until)
    return sorted(_TAKEN.rows(user=user.pk, until=until), key=queue.place_of) if taken else []


def _chosen(candidates: ReviewQuerySet, now: datetime, count: int) -> ReviewQuerySet:
    candidates = candidates.free(now)
    if connections[candidates.db].features.has_select_for_update_skip_locked:
        candidates = candidates.select_for_update(skip_locked=True, of=("self",))
    return Review.objects.filter(pk__in=Subquery(candidates.values("pk")[:count]))


@functools.cache
def _whole_queue(slug: str, count: int) -> Prepared[Review]:
    """Dealing from a queue without filters, which is nearly all dealing."""
    queue = QUEUES[slug]

    def build(user: int, now: datetime, until: datetime) -> tuple[ReviewQuerySet, dict[str, Any]]:
        rows = queue.ordered(queue.select(Review.objects.all(), user))
        return _chosen(rows, now, count), {"claimed_by": user, "claimed_until": until}

    return Prepared(build, user=int, now=datetime, until=datetime)


_TAKEN = Prepared(
    lambda user, until: Review.objects.filter(claimed_by=user, claimed_until=until).for_screen(),
    user=int, until=datetime,
)  # fmt: skip


def resume(*, user: User, queue: Queue, skipped: Collection[int] = ()) -> Review | None:
    """The first review of a queue that this person holds already, with a fresh lease."""
    mine = queue.ordered(queue.reviews(user).held_by(user).exclude(pk__in=skipped)).first()
    return mine if mine is not None and mine.claim_for(user) else None


def renew(*, user: User, uuids: Iterable[UUID]) -> list[UUID]:
    """Extend the leases that are still theirs; return which those are."""
    rows = Review.objects.filter(uuid__in=list(uuids)[:DEAL_MAX]).held_by(user)
    kept = list(rows.values_list("uuid", flat=True))
    rows.filter(uuid__in=kept).update(claimed_until=timezone.now() + CLAIM_LASTS)
    return kept


def release(*, user: User, uuids: Iterable[UUID]) -> int:
    """Give leases back, those of others untouched; return how many."""
    mine = Q(uuid__in=list(uuids)[:DEAL_MAX], claimed_by=user)
    return Review.objects.filter(mine).update(claimed_by=None, claimed_until=None)


def linger(*, user: User, uuid: UUID) -> None:
    """Hold it a little longer for somebody who has left its page: they may only be loading it again."""
    mine = Review.objects.filter(uuid=uuid).held_by(user)
    mine.update(claimed_until=timezone.now() + LINGERS)


def held(*, user: User, queue: Queue) -> ReviewQuerySet:
    """What this person holds of a queue, in its order."""
    return queue.ordered(queue.reviews(user).held_by(user))
