"""A share of decisions is made twice: by somebody else, who does not see the first. Who disagrees
brings in a senior.

The first decision stands meanwhile. What the second one finds is recorded as a decision that names
the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User

from moderation.models import Decision, Review
from moderation.models.decisions import status_after
from moderation.services import webhook_events

Opinion = Review.SecondOpinion
SETTLERS_NAMED = 5
_PARTS = 10_000
_DIGITS = 15  # of the hash, in hexadecimal: as even as chance needs


def is_drawn(decision: Decision) -> bool:
    """Whether chance picks this decision. By its hash, which nobody can foresee or choose, and
    anybody can check.

    Not by its name: that may come from the browser, and a draw that one can dodge is none.
    """
    return (
        int(decision.hash[:_DIGITS], 16) % _PARTS < settings.SECOND_OPINION_PERCENT * _PARTS / 100
    )


def first_of(review: Review) -> Decision:
    """The decision that a second opinion on this review is about."""
    return [row for row in Decision.objects.effective_for(review) if row.second_of_id is None][-1]


def settlers(review: Review) -> list[str]:
    """The names of those who may settle a disagreement: seniors who gave neither opinion and did
    not ask for it.
    """
    parties = [row.reviewer_id for row in Decision.objects.effective_for(review)]
    if not settings.DECIDE_OWN_REQUESTS:
        parties.append(review.requested_by_id)
    seniors = User.objects.with_perm(
        "moderation.decide_escalated_review", backend="django.contrib.auth.backends.ModelBackend"
    )
    others = seniors.exclude(pk__in=[pk for pk in parties if pk is not None]).order_by("username")
    return list(others.values_list("username", flat=True)[:SETTLERS_NAMED])


def conclude(*, review: Review, decision: Decision, **fields: Any) -> None:
    """Note that two agree, or pass the image on to a senior. ``fields`` are written with it."""
    if not decision.disagrees:
        Review.objects.filter(pk=review.pk).update(second_opinion=Opinion.AGREED, **fields)
        review.refresh_from_db()
        return
    review.move_to(
        Review.Status.ESCALATED,
        only_from=review.status,
        second_opinion=Opinion.DISAGREED,
        decided_at=None,
        decided_by=None,
        **fields,
    )
    webhook_events.review_moved(review)


def restore(*, review: Review, effective: Sequence[Decision], reversed_one: Decision) -> None:
    """After a reversal: put the review where what still stands of its record leaves it, claimed by
    nobody.
    """
    status = status_after(effective)
    last = next((row for row in reversed(effective) if row.second_of_id is None), None)
    is_final = status in Review.DECIDED and last is not None
    fields: dict[str, Any] = {
        "second_opinion": _opinion_after(
            effective, is_open=is_final and reversed_one.second_of_id is not None
        ),
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


def _opinion_after(effective: Sequence[Decision], *, is_open: bool) -> Opinion:
    """What to note of the second opinion by what stands. ``is_open``: one was taken back, so it is
    due again.
    """
    seconds = [row for row in effective if row.second_of_id is not None]
    if seconds:
        return Opinion.DISAGREED if any(row.disagrees for row in seconds) else Opinion.AGREED
    return Opinion.WANTED if is_open else Opinion.NONE
