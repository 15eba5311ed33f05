"""Leases on reviews, claimed in the order of a queue, several at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypedDict
from uuid import UUID

from django.conf import settings
from django.db import connections, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from generation.core.db.prepared.query import PreparedQuery
from moderation.models import Decision, Review
from moderation.models.reviews import CLAIM_LASTS, ReviewQuerySet
from moderation.queues import QUEUES, Queue
from moderation.services import golden_images

if TYPE_CHECKING:
    from django.contrib.auth.models import User

CLAIMED_AT_ONCE = 60
# More than one page can show: a contact sheet with near duplicates.
HELD_MAX = 200
NOBODY = 0  # stands for the user in queues that are the same for everybody
# Audits come after every twentieth image of this queue. The UUID of a review is random, so no count
# has to be kept and no query is added to the other nineteen decisions.
MIXED_QUEUE = "waiting"
AUDIT_EVERY = 20
SHORT_LEASE = timedelta(seconds=30)


class ClaimOptions(TypedDict):
    """The parameters with which a page claims from a queue."""

    queue: Queue
    count: int
    skipped: Collection[int]  # primary keys
    avoided: Collection[str]  # slugs of L1 categories


def claim_batch(
    *,
    user: User,
    queue: Queue,
    count: int,
    skipped: Collection[int] = (),
    avoided: Collection[str] = (),
) -> list[Review]:
    """Claim up to ``count`` unclaimed reviews of a queue, in its order.

    Two people never claim the same review, and no claim waits for another: PostgreSQL skips rows
    locked by another claim, and SQLite has a single writer.
    """
    count = min(count, CLAIMED_AT_ONCE)
    if count < 1 or not queue.is_open_to(user):
        return []
    now = timezone.now()
    if not (skipped or avoided or queue.is_narrowed or queue.is_personal):
        whole = _whole_queue(queue.slug, count, own=settings.DECIDE_OWN_REQUESTS)
        return _claim_rows(user, lambda: whole.rows(now=now, user=user.pk))
    rows = queue.work(user, avoided).exclude(pk__in=skipped)
    return _claim_rows(user, lambda: list(_free(queue.ordered(rows), now)[:count]))


def claim_for_desk(
    *,
    user: User,
    queue: Queue,
    count: int,
    skipped: Collection[int] = (),
    avoided: Collection[str] = (),
    decided: UUID | None = None,
) -> list[Review]:
    """Claim as ``claim_batch`` does, with audits and golden images among the whole queue.

    ``decided`` is the image just decided: after one in ``AUDIT_EVERY``, an audit comes next, if one
    waits, and after some a golden image. Audits also follow after the last image of the queue.
    """
    mixes = queue.slug == MIXED_QUEUE and not queue.is_narrowed and queue.is_open_to(user)
    first: list[Review] = []
    if mixes and decided is not None and count > 0:
        if decided.int % AUDIT_EVERY == 0:
            first = _claim_audits(user, 1, skipped, avoided)
        elif golden_images.is_drawn(user, decided):
            first = _claim_golden(user, decided, skipped, avoided)
    rest = count - len(first)
    claimed = first + claim_batch(
        user=user, queue=queue, count=rest, skipped=skipped, avoided=avoided
    )
    missing = min(count, CLAIMED_AT_ONCE) - len(claimed)
    if mixes and missing > 0:
        claimed += _claim_audits(user, missing, skipped, avoided)
    return claimed


def _claim_audits(
    user: User, count: int, skipped: Collection[int], avoided: Collection[str]
) -> list[Review]:
    rows = Review.objects.awaiting_audit().exclude(pk__in=skipped)
    rows = rows if settings.DECIDE_OWN_REQUESTS else rows.not_requested_by(user)
    rows = rows.exclude(top_category_l1__in=avoided) if avoided else rows
    return _claim_rows(user, lambda: list(_free(rows.order_by("pk"), timezone.now())[:count]))


def _claim_golden(
    user: User, decided: UUID, skipped: Collection[int], avoided: Collection[str]
) -> list[Review]:
    """Claim a golden image for this person, which looks to them like a waiting one."""
    pk = golden_images.find_next(user, decided, skipped=skipped, avoided=avoided)
    if pk is None:
        return []
    rows = Review.objects.filter(pk=pk, status__in=Review.DECIDED)
    claimed = _claim_rows(user, lambda: list(_free(rows, timezone.now())))
    for review in claimed:
        golden_images.note_asked(user, review)
        review.appear_waiting()
    return claimed


def claim_duplicates(
    *,
    user: User,
    queue: Queue,
    groups: Collection[int],
    count: int,
    skipped: Collection[int] = (),
    avoided: Collection[str] = (),
) -> list[Review]:
    """Claim up to ``count`` unclaimed reviews of the given near-duplicate groups."""
    rows = queue.work(user, avoided).filter(near_duplicate_group__in=groups).exclude(pk__in=skipped)
    return _claim_rows(
        user,
        lambda: list(_free(queue.ordered(rows), timezone.now())[: min(count, CLAIMED_AT_ONCE)]),
    )


def reclaim(
    *,
    user: User,
    queue: Queue,
    count: int,
    shown: Collection[UUID],
    skipped: Collection[int] = (),
    avoided: Collection[str] = (),
) -> list[Review]:
    """Renew up to ``count`` claims of the user that the page does not show.

    Another tab shows them, or showed them before it was closed.
    """
    mine = (
        queue.work(user, avoided)
        .held_by(user)
        .exclude(pk__in=skipped)
        .exclude(uuid__in=list(shown)[:HELD_MAX])
    )
    return _claim_rows(
        user, lambda: list(_for_panels(queue.ordered(mine))[: min(count, CLAIMED_AT_ONCE)])
    )


def _free(candidates: ReviewQuerySet, now: datetime) -> ReviewQuerySet:
    return _for_panels(candidates.available(now))


def _for_panels(candidates: ReviewQuerySet) -> ReviewQuerySet:
    """Select what a panel shows, and lock the rows.

    Rows locked by others are skipped if the database supports it.
    """
    decided = Decision.objects.filter(review=OuterRef("pk"))
    candidates = candidates.for_panel().annotate(was_decided=Exists(decided))
    if connections[candidates.db].features.has_select_for_update_skip_locked:
        candidates = candidates.select_for_update(skip_locked=True, of=("self",))
    return candidates


def _claim_rows(user: User, read: Callable[[], list[Review]]) -> list[Review]:
    # Without a savepoint: a claim is rolled back together with its decision.
    with transaction.atomic(savepoint=False):
        # Select first, then update: with the SELECT as a subquery, PostgreSQL may run it more than
        # once. It then skips the rows that it has just updated and claims too many.
        taken = read()
        until = timezone.now() + CLAIM_LASTS
        if len(taken) == 1:
            _CLAIM.update(pk=taken[0].pk, user=user.pk, until=until)
        elif taken:
            rows = Review.objects.filter(pk__in=[review.pk for review in taken])
            rows.update(claimed_by=user, claimed_until=until)
    for review in taken:
        review.claimed_by, review.claimed_until = user, until
    return taken


_CLAIM = PreparedQuery(
    lambda pk, user, until: (
        Review.objects.filter(pk=pk),
        {"claimed_by": user, "claimed_until": until},
    ),
    pk=int,
    user=int,
    until=datetime,
)


@functools.cache
def _whole_queue(slug: str, count: int, *, own: bool) -> PreparedQuery[Review]:
    """Return the query for claims from a queue without filters, the usual case."""
    queue = QUEUES[slug]

    def build(now: datetime, user: int = NOBODY) -> ReviewQuerySet:
        rows = queue.decidable(queue.select(Review.objects.all(), NOBODY, now), user, own=own)
        return _free(queue.ordered(rows), now)[:count]

    if own and not queue.holds_disputes:
        return PreparedQuery(build, now=datetime)
    return PreparedQuery(build, now=datetime, user=int)


def resume(*, user: User, queue: Queue, skipped: Collection[int] = ()) -> Review | None:
    """Return the first review of a queue that the user holds already, with a renewed claim."""
    mine = queue.ordered(queue.reviews(user).held_by(user).exclude(pk__in=skipped)).first()
    return mine if mine is not None and mine.claim_for(user) else None


def renew(*, user: User, uuids: Iterable[UUID], until: datetime | None = None) -> list[UUID]:
    """Extend the user's claims; return the UUIDs of those that are still held."""
    until = until or timezone.now() + CLAIM_LASTS
    named = Review.objects.filter(uuid__in=list(uuids)[:HELD_MAX])
    # Update first: claims that were read before may have been released meanwhile.
    named.held_by(user).update(claimed_until=until)
    return list(named.filter(claimed_by=user, claimed_until=until).values_list("uuid", flat=True))


def release(*, user: User, uuids: Iterable[UUID], until: datetime | None = None) -> int:
    """Release the user's claims; return their number.

    ``until`` is the end of the claims as known to the page that releases them. Claims with a later
    end were renewed since by another page and are kept.
    """
    mine = Review.objects.filter(_released_by(uuids, until), claimed_by=user)
    return mine.update(claimed_by=None, claimed_until=None)


def shorten_leases(*, user: User, uuids: Iterable[UUID], until: datetime | None = None) -> int:
    """Shorten claims for a page that was left and may only be reloading; return their number.

    ``until`` as in ``release``. No claim gets longer.
    """
    ends = timezone.now() + SHORT_LEASE
    mine = Review.objects.filter(_released_by(uuids, until), claimed_until__gt=ends).held_by(user)
    return mine.update(claimed_until=ends)


def _released_by(uuids: Iterable[UUID], until: datetime | None) -> Q:
    named = Q(uuid__in=list(uuids)[:HELD_MAX])
    return named if until is None else named & Q(claimed_until__lte=until)


def list_held(*, user: User, queue: Queue) -> ReviewQuerySet:
    """Return the user's claimed reviews of a queue, in its order."""
    return queue.ordered(queue.reviews(user).held_by(user))
