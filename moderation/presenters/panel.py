"""Context of the review page, complete before rendering: templates run no queries and no rules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils import timezone

from generation.core.db.prepared.query import PreparedQuery
from moderation import queues, taxonomy
from moderation.models import Decision, Preferences, Review
from moderation.models.decisions import keep_effective
from moderation.models.reviews import UNDO_WINDOW
from moderation.presenters import labels, originals, related
from moderation.presenters.counters import load_counts
from moderation.presenters.evidence_matrix import build_matrix
from moderation.presenters.exposure import load_exposure
from moderation.queues import Queue
from moderation.services import golden_images, second_opinions

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SURROUNDS = [str(value) for value in Preferences.Surround.values]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A decision in a review's history."""

    decision: Decision
    may_reverse: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Delivered form of an approved image, and whether the user may change it."""

    categories: str  # names; the reason for blurring, if the decision gives one
    may_change: bool
    needs_note: bool


def build_panel(*, user: User, review: Review, queue: Queue | None) -> dict[str, Any]:
    """Build the context of one image's panel: the whole page except the sidebar."""
    asset, generation = review.asset, review.asset.request
    if generation is not None and not generation.is_visible_to(user):
        generation = None
    is_blind = is_blind_for(user, review, queue)
    is_audit = is_blind and review.is_audit
    sources = [] if is_audit else labels.load_sources(review)
    notes = related.read_notes(asset)
    prompt = generation.prompt if generation else notes.prompt if notes else ""
    # Skipped for reviews known to have no decisions, which are most: the query joins five tables.
    decisions = (
        _DECISIONS.rows(review=review.pk)
        if getattr(review, "was_decided", True) and not is_blind
        else []
    )
    for row in decisions:
        row.review = review
    disagreement = related.find_disagreement(decisions, user)
    is_party = disagreement is not None and disagreement.is_party and review.is_disputed
    history = build_history(decisions, user, is_party=is_party)
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
        "prompt": related.mark_words(prompt) if prompt else [],
        "queue": queue,
        "is_blind": is_blind,
        "is_audit": is_audit,
        # The outcomes of similar images would suggest the first decision.
        "has_likeness": bool(settings.ENCODER) and not is_blind,
        "sources": sources,
        "matrix": build_matrix(sources, review.policy_id),
        "boxes": labels.build_boxes(asset, sources),
        "views": originals.build_views(asset),
        "differences": originals.describe_differences(asset),
        "may_reclassify": user.has_perm("moderation.add_reclassification"),
        "suggestions": labels.suggest_categories(sources),
        "top_category": None if is_audit else taxonomy.CATEGORIES.get(review.top_category),
        "history": history,
        "delivery": None if is_blind else build_delivery(review, decisions, user),
        "last": history[0] if history else None,
        "disagreement": disagreement,
        "filmstrip": related.filmstrip(review, user, is_blind=is_blind),
        "may_list_hashes": review.is_decided
        and not is_blind
        and user.has_perm("moderation.add_hashentry"),
        "may_mark_golden": not is_blind and golden_images.may_mark(review, user),
        "known": related.find_known(sources, user, is_blind=is_blind),
        "similar": related.find_similar(review, user, is_blind=is_blind),
        "action_bar": action_bar(user, review, queue, is_party=is_party),
        "settlers": second_opinions.list_settlers(review) if is_party else [],
        "claim_seconds": count_claim_seconds(review),
    }


def viewer(user: User, review: Review, queue: Queue | None) -> dict[str, Any]:
    """Build the context of the image alone."""
    is_audit = review.is_audit and is_blind_for(user, review, queue)
    boxes = [] if is_audit else labels.build_boxes(review.asset, labels.load_sources(review))
    return {
        "review": review,
        "asset": review.asset,
        "boxes": boxes,
        "views": originals.build_views(review.asset),
        "differences": originals.describe_differences(review.asset),
    }


_DECISIONS = PreparedQuery(
    lambda review: (
        Decision.objects.filter(review=review)
        .newest_first()
        .select_related("policy", "reversed_by", "second_of__policy")
    ),
    review=int,
)


def is_blind_for(user: User, review: Review, queue: Queue | None) -> bool:
    """Return whether the user must judge without seeing the first decision.

    That is so in the queue of second opinions, of an audit in every queue, and while the user holds
    such a review.
    """
    asked = queue is not None and (queue.is_blind or review.is_audit)
    if review.is_own_request_of(user):
        return False  # no second opinion is asked of the requester
    return review.wants_opinion_of(user) and (asked or review.is_held_by(user))


def sidebar(user: User) -> dict[str, Any]:
    """Build the sidebar's context: queues with bounded counts, and the user's numbers of today."""
    numbers = load_counts(user)
    return {
        "sidebar": [(depth.queue, depth.count) for depth in numbers.depths],
        "saved": queues.list_saved_queues(user),
        "today": numbers.verdicts,
        "exposure": load_exposure(user),
    }


def build_history(
    decisions: Iterable[Decision], user: User, *, is_party: bool = False
) -> list[Entry]:
    """Build history entries.

    ``is_party``: the user gave one of two differing opinions, so may reverse only that one.
    """
    return [
        Entry(
            decision=row,
            may_reverse=row.may_be_reversed_by(user)
            and (not is_party or row.reviewer_id == user.pk),
        )
        for row in decisions
    ]


def build_delivery(review: Review, decisions: Iterable[Decision], user: User) -> Delivery | None:
    """Describe the delivery of an approved image; None for others.

    ``decisions`` are those of the review, newest first.
    """
    if review.status != Review.Status.APPROVED:
        return None
    standing = keep_effective(reversed(list(decisions)))
    approval = next((row for row in reversed(standing) if row.second_of_id is None), None)
    if approval is None:
        return None
    return Delivery(
        categories=approval.category_names if review.is_blurred else "",
        may_change=user.has_perm("moderation.decide_review")
        and not review.is_own_request_of(user)
        and approval.may_be_reversed_by(user),
        needs_note=approval.reviewer_id != user.pk,
    )


def count_claim_seconds(review: Review) -> int:
    """Return the seconds left of the claim, by the server's clock."""
    if review.claimed_until is None:
        return 0
    return max(0, int((review.claimed_until - timezone.now()).total_seconds()))


def action_bar(user: User, review: Review, queue: Queue | None, *, is_party: bool = False) -> str:
    """Return the variant of the action bar."""
    stopped = _why_not(user, review, queue, is_party=is_party)
    if stopped:
        return stopped
    if review.is_held_by(user):
        return "deciding"
    return "taken" if review.is_claimed else "free"


def _why_not(user: User, review: Review, queue: Queue | None, *, is_party: bool) -> str:
    """Return the variant for a user who cannot decide this review; "" if they can."""
    rank = review.missing_rank(user)
    if rank == "moderator":
        return "looking"
    if review.status == Review.Status.CLASSIFYING:
        return "classifying"
    if review.is_decided and not is_blind_for(user, review, queue):
        return "decided"
    if rank:
        return rank
    if review.is_own_request_of(user):
        return "own"
    return "party" if is_party else ""


def count_undo_seconds(decision: Decision | None) -> int:
    """Return the seconds left to undo the user's last decision; 0 without one."""
    if decision is None:
        return 0
    return max(0, int((decision.created_at + UNDO_WINDOW - timezone.now()).total_seconds()))


def choose_next_surround(preferences: Preferences) -> str:
    """Return the surround that the surround key switches to."""
    return SURROUNDS[(SURROUNDS.index(preferences.surround) + 1) % len(SURROUNDS)]
