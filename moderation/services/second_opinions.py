"""A share of decisions is made twice: by somebody else, who does not see the first. Who disagrees brings in a senior.

The first decision stands meanwhile. What the second one finds is recorded as a decision that names the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings

from moderation.gateway import events
from moderation.models import Decision, Review
from moderation.models.decisions import status_after

Opinion = Review.SecondOpinion
_PARTS = 10_000


def is_drawn(decision: Decision) -> bool:
    """Whether chance picks this decision. By its random name, so that nobody can foresee or repeat it."""
    return decision.uuid.int % _PARTS < settings.SECOND_OPINION_PERCENT * _PARTS / 100


def first_of(review: Review) -> Decision:
    """The decision that a second opinion on this review is about."""
    return [row for row in Decision.objects.standing_of(review) if row.second_of_id is None][-1]


def conclude(*, review: Review, decision: Decision, **fields: Any) -> None:
    """Note that two agree, or pass the image on to a senior. ``fields`` are written with it."""
    if not decision.disagrees:
        Review.objects.filter(pk=review.pk).update(second_opinion=Opinion.AGREED, **fields)
        review.refresh_from_db()
        return
    review.move_to(
        Review.Status.ESCALATED, only_from=review.status, second_opinion=Opinion.DISAGREED,
        decided_at=None, decided_by=None, **fields,
    )  # fmt: skip
    events.review_moved(review)


def restore(*, review: Review, standing: Sequence[Decision], reversed_one: Decision) -> None:
    """After a reversal: put the review where what still stands of its record leaves it, claimed by nobody."""
    status = status_after(standing)
    last = standing[-1] if standing else None
    is_final = status in Review.DECIDED and last is not None
    fields: dict[str, Any] = {
        "second_opinion": Opinion.WANTED if reversed_one.second_of_id and is_final else Opinion.NONE,
        "decided_at": last.created_at if is_final and last else None,
        "decided_by": last.reviewer if is_final and last else None,
        "claimed_by": None,
        "claimed_until": None,
    }
    if status == review.status:
        Review.objects.filter(pk=review.pk).update(**fields)
        review.refresh_from_db()
    else:
        review.move_to(status, **fields)
