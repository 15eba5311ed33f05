"""What moderators do: claim, skip, decide, reverse."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from django.db import transaction

from generation.models import InvalidTransition
from moderation import taxonomy
from moderation.gateway import events
from moderation.models import Decision, Review, Verdict
from moderation.queues import Queue
from moderation.services.record import record_decision

if TYPE_CHECKING:
    from django.contrib.auth.models import User

Status = Review.Status
STATUS_AFTER = {
    Verdict.APPROVE: Status.APPROVED,
    Verdict.REJECT: Status.REJECTED,
    Verdict.ESCALATE: Status.ESCALATED,
}
SECONDS_MAX = Decimal(3600)


class DeskError(Exception):
    """What somebody asked for cannot be done; the text is for them."""


class NotAllowed(DeskError):
    """They may not do this, whoever was faster: 403."""


class Overtaken(DeskError):
    """It is no longer possible: somebody was faster, or the claim has lapsed: 409."""


class Incomplete(DeskError):
    """Something is missing or unknown in what they sent: 422."""


def claim_next(*, user: User, queue: Queue, skipped: Collection[int] = ()) -> Review | None:
    """Give this person the next review of a queue, resuming one they hold; None when nothing is left for them.

    The candidates are read without a lock and taken by compare and swap, so losing one to somebody else only means
    trying the next.
    """
    mine = queue.reviews(user).held_by(user).exclude(pk__in=skipped).in_order().first()
    if mine is not None and mine.claim_for(user):
        return mine
    while True:
        free = queue.reviews(user).unclaimed_for(user).exclude(pk__in=skipped).in_order()[:10]
        candidates = list(free.select_related("asset"))
        for review in candidates:
            if review.claim_for(user):
                return review
        if not candidates:
            return None


def claim(*, review: Review, user: User) -> Review:
    """Take this very review. Raises Overtaken with who has it, NotAllowed for an escalated one."""
    review.refresh_from_db()
    _require_rank(review, user)
    if not review.claim_for(user):
        raise Overtaken(_who_was_faster(review))
    return review


def skip(*, review: Review, user: User) -> None:
    """Give it back without a trace in the record."""
    review.release(user)


@transaction.atomic
def decide(
    *,
    review: Review,
    user: User,
    verdict: Verdict,
    categories: Sequence[str] = (),
    note: str = "",
    seconds: Decimal | None = None,
) -> Decision:
    """Record a verdict on a review this person holds, and move it on. Raises NotAllowed, Incomplete or Overtaken."""
    review = Review.objects.select_for_update().get(pk=review.pk)
    _require_rank(review, user)
    chosen = _checked_categories(verdict, categories)
    if review.is_decided or not review.is_held_by(user):
        raise Overtaken(_who_was_faster(review))
    decision = record_decision(
        review=review, verdict=verdict, categories=chosen, note=note.strip(), reviewer=user, policy=review.policy,
        seconds=None if seconds is None else min(max(seconds, Decimal(0)), SECONDS_MAX),
    )  # fmt: skip
    status = STATUS_AFTER[verdict]
    decided_at = decision.created_at if status in Review.DECIDED else None
    try:
        review.move_to(status, where={"claimed_by": user}, decided_at=decided_at, claimed_by=None, claimed_until=None)
    except InvalidTransition:
        raise Overtaken(_who_was_faster(review)) from None
    events.review_moved(review)
    return decision


@transaction.atomic
def reverse(*, decision: Decision, user: User, note: str = "") -> Decision:
    """Take a decision back: a new one that names it, and the review waits again where it did before, held by who
    reversed it.

    Raises NotAllowed; Incomplete, without a reason for a decision that is not theirs; Overtaken, when something newer
    has been decided since.
    """
    review = Review.objects.select_for_update().get(pk=decision.review_id)
    if not decision.may_be_reversed_by(user):
        raise NotAllowed(_why_not_reversible(decision, user))
    if decision.reviewer_id != user.pk and not note.strip():
        raise Incomplete("Say why you reverse a decision that is not yours.")
    last = Decision.objects.last_of(review)
    if last is None or last.pk != decision.pk:
        raise Overtaken("This decision is not the last one on its image any more.")
    reversal = record_decision(
        review=review, verdict=Verdict.REOPEN, note=note.strip(), reviewer=user, policy=review.policy, reverses=decision
    )
    review.move_to(_status_before(decision), decided_at=None, claimed_by=None, claimed_until=None)
    review.claim_for(user)
    events.review_moved(review)
    return reversal


def _status_before(decision: Decision) -> Status:
    """Where a review stood before a decision: escalated, if what stands of the record before it ends in that."""
    earlier = Decision.objects.filter(review=decision.review_id, sequence__lt=decision.sequence)
    standing = earlier.filter(reversed_by__isnull=True).exclude(verdict=Verdict.REOPEN).newest_first().first()
    return Status.ESCALATED if standing is not None and standing.verdict == Verdict.ESCALATE else Status.PENDING


def last_reversible(*, user: User) -> Decision | None:
    """What "undo" means for this person now: their newest decision, if it is still theirs to take back."""
    newest = Decision.objects.filter(reviewer=user).newest_first().select_related("review").first()
    while newest is not None and newest.verdict == Verdict.REOPEN:
        newest = (
            Decision.objects.filter(reviewer=user, sequence__lt=newest.sequence, reversed_by__isnull=True)
            .exclude(verdict=Verdict.REOPEN)
            .newest_first()
            .select_related("review")
            .first()
        )
    return newest if newest is not None and newest.may_be_reversed_by(user) else None


def _require_rank(review: Review, user: User) -> None:
    if not user.has_perm("moderation.decide_review"):
        raise NotAllowed("You may look at reviews but not decide them.")
    if review.status == Status.ESCALATED and not user.has_perm("moderation.decide_escalated_review"):
        raise NotAllowed("This review was escalated. A senior moderator decides it.")


def _checked_categories(verdict: Verdict, slugs: Sequence[str]) -> list[str]:
    if verdict not in STATUS_AFTER:
        raise Incomplete("Choose approve, reject or escalate.")
    allowed = {category.slug for category in taxonomy.reject_reasons()}
    unknown = [slug for slug in slugs if slug not in allowed]
    if unknown:
        raise Incomplete(
            f"{taxonomy.names(unknown[:1])} is not a category a rejection can name. Choose a second-level one."
        )
    if verdict == Verdict.REJECT and not slugs:
        raise Incomplete("A rejection needs at least one category. Choose what the image shows.")
    return sorted(set(slugs)) if verdict != Verdict.APPROVE else []


def _who_was_faster(review: Review) -> str:
    last = Decision.objects.last_of(review)
    if last is not None and review.status in {Status.APPROVED, Status.REJECTED, Status.ESCALATED}:
        details = f" ({last.category_names})" if last.categories else ""
        return f"Already {last.past_tense}{details} by {last.author} at {last.created_at:%H:%M:%S} UTC."
    if review.status == Status.CLASSIFYING:
        return "This image is still being classified."
    if review.is_claimed and review.claimed_by:
        return f"{review.claimed_by.get_username()} has taken this review, until {review.claimed_until:%H:%M:%S} UTC."
    return "Your claim on this review has lapsed. Take it again to decide it."


def _why_not_reversible(decision: Decision, user: User) -> str:
    if hasattr(decision, "reversed_by") or decision.verdict == Verdict.REOPEN:
        return "This decision has been reversed already."
    if decision.reviewer_id != user.pk:
        return "Somebody else's decision can only be reversed by a senior moderator."
    return "The time to undo is over. A senior moderator can reverse this decision."
