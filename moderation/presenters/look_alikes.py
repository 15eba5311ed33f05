"""Context of the page of released look-alikes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moderation.models import Decision, Review
from moderation.services import look_alikes

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def build_look_alikes(*, user: User, review: Review) -> dict[str, Any]:
    """Build the context: the rejection, its released look-alikes, and what this user may do."""
    decision = Decision.objects.map_last_effective([review.pk]).get(review.pk)
    is_senior = user.has_perm("moderation.decide_escalated_review")
    return {
        "review": review,
        "decision": decision if review.status == Review.Status.REJECTED else None,
        "found": look_alikes.find_released(review=review, user=user),
        "is_senior": is_senior,
        "may_act": user.has_perm("moderation.decide_review"),
    }
