"""Claims for the contact sheet: many images of a queue, with their near duplicates."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING
from uuid import UUID

from moderation.models import Review
from moderation.queues import Queue
from moderation.services import claims, decisions

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SHEET_SIZE = 48
# Near duplicates beyond SHEET_SIZE, so that one decision covers images that look the same. Larger
# groups continue on the next sheet.
DUPLICATES_MAX = 50


def fill_sheet(
    *, user: User, queue: Queue, skipped: Collection[int] = (), avoided: Collection[str] = ()
) -> int:
    """Renew the user's claims in a queue, claim more up to a full sheet, and return the total."""
    mine = claims.list_held(user=user, queue=queue)
    held = set(
        claims.renew(user=user, uuids=mine.values_list("uuid", flat=True)[: claims.HELD_MAX])
    )
    if len(held) < SHEET_SIZE:
        claimed = claims.claim_batch(
            user=user, queue=queue, count=SHEET_SIZE - len(held), skipped=skipped, avoided=avoided
        )
        held |= {review.uuid for review in claimed}
    groups = {
        near_duplicate_group
        for near_duplicate_group in mine.values_list("near_duplicate_group", flat=True)
        if near_duplicate_group is not None
    }
    room = SHEET_SIZE + DUPLICATES_MAX - len(held)
    if not groups or room <= 0:
        return len(held)
    alike = claims.claim_duplicates(
        user=user, queue=queue, groups=groups, count=room, skipped=skipped, avoided=avoided
    )
    return len(held) + len(alike)


def list_sheet(*, user: User, queue: Queue) -> list[Review]:
    """Return the user's claimed reviews of a queue, in its order, with the rows that tiles show."""
    rows = claims.list_held(user=user, queue=queue).select_related("asset__request")
    return list(rows.defer("asset__metadata", "asset__detection")[: SHEET_SIZE + DUPLICATES_MAX])


def release(*, user: User, queue: Queue, uuids: Iterable[UUID]) -> list[Review]:
    """Release the given reviews that the user still holds; return them.

    They count as viewed.
    """
    wanted = set(uuids)
    back = [review for review in list_sheet(user=user, queue=queue) if review.uuid in wanted]
    if back:
        decisions.count_exposure(user, [(review, ()) for review in back])
        claims.release(user=user, uuids=[review.uuid for review in back])
    return back
