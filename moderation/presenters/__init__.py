"""What the review screen shows, gathered before the template runs: no query and no rule is left to
the template.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from generation.core.db.prepared.query import PreparedQuery
from moderation import queues, taxonomy
from moderation.models import Decision, Preferences, Review
from moderation.models.reviews import UNDO_WINDOW
from moderation.presenters import labels
from moderation.presenters import related as surroundings
from moderation.presenters.counters import numbers_of
from moderation.presenters.exposure import seen_by
from moderation.queues import Queue
from moderation.services import second_opinions

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SURROUNDS = [str(value) for value in Preferences.Surround.values]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    decision: Decision
    may_reverse: bool


def panel(*, user: User, review: Review, queue: Queue | None) -> dict[str, Any]:
    """The context of one image's panel: all of the screen but the rail."""
    asset, generation = review.asset, review.asset.request
    if generation is not None and not generation.is_visible_to(user):
        generation = None
    sources = labels.sources_of(review)
    notes = surroundings.notes_of(asset)
    prompt = generation.prompt if generation else notes.prompt if notes else ""
    is_blind = blind(user, review, queue)
    # Most images come to the desk without any, and what reads them joins five tables.
    decisions = (
        _DECISIONS.rows(review=review.pk)
        if getattr(review, "was_decided", True) and not is_blind
        else []
    )
    for row in decisions:
        row.review = review
    disagreement = surroundings.disagreement(decisions, user)
    is_party = disagreement is not None and disagreement.is_party and review.is_disputed
    history = entries(decisions, user, is_party=is_party)
    return {
        "review": review,
        "asset": asset,
        "generation": generation,
        "notes": notes,
        "negative_prompt": generation.negative_prompt
        if generation
        else notes.negative_prompt
        if notes
        else "",
        "prompt": surroundings.marked(prompt) if prompt else [],
        "queue": queue,
        "is_blind": is_blind,
        "sources": sources,
        "boxes": labels.boxes_of(asset, sources),
        "suggestions": labels.suggestions(sources),
        "top_category": taxonomy.CATEGORIES.get(review.top_category),
        "history": history,
        "last": history[0] if history else None,
        "disagreement": disagreement,
        "strip": surroundings.strip(review, user, is_blind=is_blind),
        "similar": surroundings.similar_to(review, user, is_blind=is_blind),
        "foot": foot(user, review, queue, is_party=is_party),
        "settlers": second_opinions.settlers(review) if is_party else [],
        "claim_seconds": claim_seconds(review),
    }


def stage(review: Review) -> dict[str, Any]:
    """The context of the picture alone."""
    boxes = labels.boxes_of(review.asset, labels.sources_of(review))
    return {"review": review, "asset": review.asset, "boxes": boxes}


_DECISIONS = PreparedQuery(
    lambda review: (
        Decision.objects.filter(review=review)
        .newest_first()
        .select_related("policy", "reversed_by", "second_of__policy")
    ),
    review=int,
)


def blind(user: User, review: Review, queue: Queue | None) -> bool:
    """Whether they shall judge without seeing what was decided: in that queue, or while they hold
    it for that.
    """
    asked = queue is not None and queue.is_blind
    if review.is_own_request_of(user):
        return False  # nobody asks them
    return review.wants_opinion_of(user) and (asked or review.is_held_by(user))


def rail(user: User) -> dict[str, Any]:
    """Queues with bounded counts, and what this person alone has done and seen today."""
    numbers = numbers_of(user)
    return {
        "rail": [(depth.queue, depth.count) for depth in numbers.depths],
        "saved": queues.saved_for(user),
        "today": numbers.verdicts,
        "exposure": seen_by(user),
    }


def entries(decisions: Iterable[Decision], user: User, *, is_party: bool = False) -> list[Entry]:
    """``is_party``: they are half of a disagreement, so all they may take back is their own
    opinion.
    """
    return [
        Entry(
            decision=row,
            may_reverse=row.may_be_reversed_by(user)
            and (not is_party or row.reviewer_id == user.pk),
        )
        for row in decisions
    ]


def claim_seconds(review: Review) -> int:
    """How long the claim still holds, by the server's clock; the browser only counts down from
    here.
    """
    if review.claimed_until is None:
        return 0
    return max(0, int((review.claimed_until - timezone.now()).total_seconds()))


def foot(user: User, review: Review, queue: Queue | None, *, is_party: bool = False) -> str:
    """Which of the designed feet the inspector gets."""
    stopped = _why_not(user, review, queue, is_party=is_party)
    if stopped:
        return stopped
    if review.is_held_by(user):
        return "deciding"
    return "taken" if review.is_claimed else "free"


def _why_not(user: User, review: Review, queue: Queue | None, *, is_party: bool) -> str:
    """The foot that says why this person cannot decide it; "" where they can."""
    if not user.has_perm("moderation.decide_review"):
        return "looking"
    if review.status == Review.Status.CLASSIFYING:
        return "classifying"
    if review.is_decided and not blind(user, review, queue):
        return "decided"
    if review.status == Review.Status.ESCALATED and not user.has_perm(
        "moderation.decide_escalated_review"
    ):
        return "senior"
    if review.is_own_request_of(user):
        return "own"
    return "party" if is_party else ""


def undo_seconds(decision: Decision | None) -> int:
    """How long somebody's last decision can still be taken back; 0 when there is none."""
    if decision is None:
        return 0
    return max(0, int((decision.created_at + UNDO_WINDOW - timezone.now()).total_seconds()))


def surround_after(preferences: Preferences) -> str:
    """Where the surround key goes next."""
    return SURROUNDS[(SURROUNDS.index(preferences.surround) + 1) % len(SURROUNDS)]
