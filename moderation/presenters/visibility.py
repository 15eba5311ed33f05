"""What a page may tell of other reviews' outcomes: nothing that a person who gives a second opinion
must not know.
"""

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
class Shown:
    """A review's status as somebody may see it."""

    status: str  # for data-status
    name: str
    word: str  # in as few letters as fit under a small picture


_TELLING = frozenset({Review.Status.ESCALATED, *Review.DECIDED})
_SHOWN: dict[str, Shown] = {
    status: Shown(status=status.value, name=str(status.label), word=word)
    for status, word in SHORT.items()
}
HIDDEN = Shown(status="hidden", name="Not shown during a second opinion", word="–")


def shown(review: Review, user: User, *, is_blind: bool = False) -> Shown:
    """``is_blind``: they are judging an image of the same kind without seeing what was decided.

    Then what became of its siblings and its like is kept from them too: it tells nearly as much.
    """
    if (is_blind and review.status in _TELLING) or review.is_blind_to(user):
        return HIDDEN
    return _SHOWN[review.status]
