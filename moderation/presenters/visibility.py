"""Visibility of other reviews' outcomes during a second opinion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moderation.models import Review

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SHORT = {
    Review.Status.CLASSIFYING: "Wait",
    Review.Status.PENDING: "Due",
    Review.Status.ESCALATED: "Esc",
    Review.Status.APPROVED: "OK",
    Review.Status.REJECTED: "No",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownStatus:
    """A review's status as a viewer may see it."""

    status: str  # for data-status
    name: str
    word: str  # short form for under a thumbnail


_TELLING = frozenset({Review.Status.ESCALATED, *Review.DECIDED})
_SHOWN: dict[str, ShownStatus] = {
    status: ShownStatus(status=status.value, name=str(status.label), word=word)
    for status, word in SHORT.items()
}
_BLURRED = ShownStatus(status="approved", name="Approved blurred", word="Blur")
HIDDEN = ShownStatus(status="hidden", name="Not shown during a second opinion", word="–")


def get_shown_status(review: Review, user: User, *, is_blind: bool = False) -> ShownStatus:
    """Return a review's status, or HIDDEN.

    ``is_blind``: the viewer gives a second opinion on a related image. Outcomes of siblings and
    similar images are then hidden too, because they suggest the first decision.
    """
    if (is_blind and review.status in _TELLING) or review.is_blind_to(user):
        return HIDDEN
    if review.is_golden_to(user):
        return _SHOWN[Review.Status.PENDING]
    return _BLURRED if review.is_blurred else _SHOWN[review.status]
