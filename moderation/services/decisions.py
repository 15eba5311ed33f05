"""Actions of moderators: claim, skip, decide, reverse."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import IntegrityError
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from generation.core.db.functions import Unsought
from generation.core.db.prepared.query import PreparedQuery
from generation.core.db.write_lock import atomic_in_turn
from generation.models import InvalidTransitionError
from moderation import taxonomy
from moderation.models import Decision, Exposure, Review, Verdict
from moderation.models.decisions import STATUS_AFTER
from moderation.models.exposure import SEVERE
from moderation.models.reviews import UNDO_WINDOW
from moderation.queues import Queue
from moderation.services import claims, golden_images, second_opinions, webhook_events
from moderation.services.audit_log import record_decision

if TYPE_CHECKING:
    from django.contrib.auth.models import User

Status = Review.Status


# Only the columns needed for a decision: the row is wide.
def _select_for_decision(rows: QuerySet[Review]) -> QuerySet[Review]:
    rows = rows.only(
        "uuid",
        "asset",
        "status",
        "top_category_l1",
        "policy",
        "claimed_by",
        "claimed_until",
        "decided_by",
        "second_opinion",
        "is_blurred",
        "for_lead",
        "requested_by",
        # Covered by the hash of the decision.
        "classification_summary",
        "asset__uuid",
        "asset__sha256",
        "asset__source_sha256",
        "asset__original_sha256",
        "asset__differs",
    ).select_related("asset")
    listeners = webhook_events.find_listeners(OuterRef("asset"))
    return rows.annotate(has_listener=Exists(listeners)).select_for_update(of=("self",))


_LOCKED = PreparedQuery(
    lambda uuid: _select_for_decision(Review.objects.filter(uuid=uuid)), uuid=UUID
)
# Search among the user's claims, which were just read: an index of ten million UUIDs would come
# from the disk.
_LOCKED_AND_HELD = PreparedQuery(
    lambda user, uuid: _select_for_decision(
        Review.objects.filter(claimed_by=user).alias(name=Unsought("uuid")).filter(name=uuid)
    ),
    user=int,
    uuid=UUID,
)
VERDICTS = frozenset(STATUS_AFTER)  # the verdicts that a person may give
SECONDS_MAX = Decimal(3600)
OWN_REQUEST = "You requested this image, so somebody else decides it."
PARTY = "You gave one of the two opinions on this image, so another senior moderator decides it."
DISPUTED = "Another person decided this image differently, so a senior moderator decides it."
NO_RANK = {
    "moderator": "You can view but not decide.",
    "senior": "This review was escalated. A senior moderator decides it.",
    "lead": "A senior moderator escalated this review. A policy lead decides it.",
}
ALREADY_WITH_LEAD = "It is already with the policy leads: approve or reject it, or skip it."
TAKEN_ID = "This id belongs to another decision."
REMOVED = "The files of this image were removed, so its decision stays as it is."
SUPERSEDED = "This is no longer the last decision on its image."


class DecisionError(Exception):
    """An action that cannot be done. ``str(error)`` is a message for the user."""


class NotPermittedError(DecisionError):
    """The user may not do this at all: 403."""


class ConflictError(DecisionError):
    """The action is no longer possible, because of another person or an expired claim: 409."""


class InvalidDecisionError(DecisionError):
    """The input is incomplete or invalid: 422."""


@dataclass(frozen=True, slots=True)
class ReviewRef:
    """A reference to a review that has not been loaded."""

    uuid: UUID


def claim_next(
    *, user: User, queue: Queue, skipped: Collection[int] = (), avoided: Collection[str] = ()
) -> Review | None:
    """Return the next review of a queue, claimed; None if none is left.

    A review that the user holds already comes first.
    """
    mine = claims.resume(user=user, queue=queue, skipped=skipped)
    if mine is not None:
        return mine
    return next(
        iter(
            claims.claim_for_desk(user=user, queue=queue, count=1, skipped=skipped, avoided=avoided)
        ),
        None,
    )


def claim(*, review: Review, user: User) -> Review:
    """Claim a given review.

    Raises ConflictError, which names the holder, or NotPermittedError.
    """
    review.refresh_from_db()
    _require_rank(review, user)
    if not review.claim_for(user) and not _reclaim_golden(review, user):
        raise ConflictError(_explain_conflict(review, user))
    return review


def _reclaim_golden(review: Review, user: User) -> bool:
    """Renew the claim on a golden image that was given to the user; return whether they hold it.

    The image then looks to them like a waiting one.
    """
    if not review.is_decided or golden_images.find_asked(review, user) is None:
        return False
    if not review.hold_golden(user):
        return False
    review.appear_waiting()
    return True


def skip(*, review: Review, user: User) -> None:
    """Release a review without a record."""
    if review.is_held_by(user):
        count_exposure(user, [(review, ())])
    review.release(user)


def decide(
    *,
    review: Review | ReviewRef,
    user: User,
    verdict: Verdict,
    is_blurred: bool = False,
    categories: Sequence[str] = (),
    note: str = "",
    seconds: Decimal | None = None,
    uuid: UUID | None = None,
    batch: UUID | None = None,
) -> Decision:
    """Record a verdict on a review that this person holds, and move the review on.

    ``review`` only names the row: the row is read again under its lock. ``uuid`` is the client's
    name for the decision: a decision that is sent twice is recorded once. ``batch`` is shared by
    decisions that are made, and can be reversed, together. ``is_blurred``: the approved image is
    delivered blurred.

    Raises: NotPermittedError, InvalidDecisionError, ConflictError, Review.DoesNotExist.
    """
    try:
        with atomic_in_turn():
            return _decide(
                review,
                user,
                verdict=verdict,
                is_blurred=is_blurred,
                categories=categories,
                note=note,
                seconds=seconds,
                uuid=uuid,
                batch=batch,
            )
    except (DecisionError, IntegrityError):
        if (recorded := _find_repeated(uuid, review, user)) is None:
            raise
        return recorded


def decide_and_claim(
    *,
    review: Review | ReviewRef,
    user: User,
    verdict: Verdict,
    is_blurred: bool = False,
    categories: Sequence[str] = (),
    note: str = "",
    seconds: Decimal | None = None,
    uuid: UUID | None = None,
    next_claims: claims.ClaimOptions,
) -> list[Review]:
    """Record a verdict as ``decide`` does, and claim the next reviews in the same transaction.

    Returns the claimed reviews. Raises as ``decide``; then nothing is claimed.
    """
    try:
        with atomic_in_turn():
            # Claim first: appending to the record blocks the other writers until the commit.
            claimed = claims.claim_for_desk(user=user, decided=review.uuid, **next_claims)
            _decide(
                review,
                user,
                verdict=verdict,
                is_blurred=is_blurred,
                categories=categories,
                note=note,
                seconds=seconds,
                uuid=uuid,
            )
            return claimed
    except (DecisionError, IntegrityError):
        if _find_repeated(uuid, review, user) is None:
            raise
    return claims.claim_for_desk(user=user, **next_claims)


def _lock_review(uuid: UUID, holder: User | None = None) -> Review:
    """Load and lock a review. Raises Review.DoesNotExist.

    ``holder``: the user who probably holds it, among few others.
    """
    review = _LOCKED_AND_HELD.row(user=holder.pk, uuid=uuid) if holder is not None else None
    review = review or _LOCKED.row(uuid=uuid)
    if review is None:
        raise Review.DoesNotExist
    return review


def _decide(
    named: Review | ReviewRef,
    user: User,
    *,
    verdict: Verdict,
    is_blurred: bool = False,
    categories: Sequence[str] = (),
    note: str = "",
    seconds: Decimal | None = None,
    uuid: UUID | None = None,
    batch: UUID | None = None,
) -> Decision:
    review = _lock_review(named.uuid, user if batch is None else None)
    _require_rank(review, user)
    chosen = check_categories(verdict, categories, is_blurred=is_blurred)
    if verdict == Verdict.ESCALATE and review.for_lead:
        raise ConflictError(ALREADY_WITH_LEAD)
    is_second = review.wants_opinion_of(user)
    # An expired claim still counts until another person claims the image: the user decides what
    # they saw. Not for a second opinion, because they may have been shown the first decision since,
    # nor for a batch.
    is_theirs = review.is_held_by(user) or (
        review.claimed_by_id == user.pk and not is_second and batch is None
    )
    if review.is_decided and not is_second and batch is None:
        answer = _answer_golden(
            review,
            user,
            verdict=verdict,
            is_blurred=is_blurred,
            categories=chosen,
            note=note.strip(),
            seconds=_limit_seconds(seconds),
            uuid=uuid,
        )
        if answer is not None:
            return answer
    if (review.is_decided and not is_second) or not is_theirs:
        raise ConflictError(_explain_conflict(review, user))
    count_exposure(user, [(review, chosen)])
    decision = record_decision(
        review=review,
        verdict=verdict,
        categories=chosen,
        note=note.strip(),
        is_blurred=is_blurred,
        reviewer=user,
        policy_id=review.policy_id,
        uuid=uuid,
        batch=batch,
        seconds=_limit_seconds(seconds),
        second_of=second_opinions.find_first(review) if is_second else None,
    )
    _apply_decision(review, decision, user)
    return decision


def _limit_seconds(seconds: Decimal | None) -> Decimal | None:
    return None if seconds is None else min(max(seconds, Decimal(0)), SECONDS_MAX)


def _answer_golden(
    review: Review, user: User, *, uuid: UUID | None, **given: Any
) -> Decision | None:
    """Store the answer to a golden image, if this is one that was given to the user.

    Returns it in the form of a decision, which is not part of the record.
    """
    asked = golden_images.find_asked(review, user)
    if asked is None:
        return None
    if uuid is not None and Decision.objects.filter(uuid=uuid).exists():
        raise InvalidDecisionError(TAKEN_ID)
    count_exposure(user, [(review, given["categories"])])
    answer = golden_images.store_answer(asked, uuid=uuid, **given)
    review.release(user)
    answer.golden_image.review = review
    return answer.as_decision()


def _apply_decision(review: Review, decision: Decision, user: User) -> None:
    """Change the review's status after a decision, and release the claim."""
    freed: dict[str, Any] = {"claimed_by": None, "claimed_until": None}
    if decision.second_of is not None:
        second_opinions.conclude(review=review, decision=decision, **freed)
        return
    status = STATUS_AFTER[Verdict(decision.verdict)]
    if review.status == status == Status.ESCALATED:
        _pass_to_lead(review, user, **freed)
        return
    is_final = status in Review.DECIDED
    if review.for_lead:
        freed["for_lead"] = False
    # Escalated reviews are not drawn: seniors' decisions get no second opinion, and a recorded
    # disagreement is kept.
    if is_final and review.status == Status.PENDING and second_opinions.is_drawn(decision):
        freed["second_opinion"] = Review.SecondOpinion.WANTED
    if decision.is_blurred:
        freed["is_blurred"] = True
    try:
        review.move_to(
            status,
            where={"claimed_by": user},
            reread=False,
            **freed,
            decided_at=decision.created_at if is_final else None,
            decided_by=user if is_final else None,
        )
    except InvalidTransitionError:
        raise ConflictError(_explain_conflict(review, user)) from None
    webhook_events.queue_events(review)


def _pass_to_lead(review: Review, user: User, **freed: Any) -> None:
    """Give an escalated review to the policy leads. Raises ConflictError."""
    held = Review.objects.filter(pk=review.pk, status=Status.ESCALATED, claimed_by=user)
    if not held.update(for_lead=True, **freed):
        raise ConflictError(_explain_conflict(review, user))


def may_decide(user: User) -> bool:
    """Return whether the user may decide any reviews."""
    return user.has_perm("moderation.decide_review") or user.has_perm(Review.LEAD_PERMISSION)


def _find_repeated(uuid: UUID | None, review: Review | ReviewRef, user: User) -> Decision | None:
    """Return the decision with this UUID if it is the same request again, else None.

    Raises InvalidDecisionError if another decision has the UUID.
    """
    before = Decision.objects.filter(uuid=uuid).select_related("review").first() if uuid else None
    if before is not None and (before.review.uuid, before.reviewer_id) != (review.uuid, user.pk):
        raise InvalidDecisionError(TAKEN_ID)
    if before is None and uuid is not None:
        answer = golden_images.find_repeated(uuid, review.uuid, user)
        return answer.as_decision() if answer is not None else None
    return before


@atomic_in_turn()
def reverse(
    *, decision: Decision, user: User, note: str = "", batch: UUID | None = None
) -> Decision:
    """Reverse a decision by a new decision that refers to it.

    The review returns to its previous status, claimed by the user.

    Raises NotPermittedError; InvalidDecisionError without a reason for somebody else's decision;
    ConflictError if a newer decision exists.
    """
    review = _lock_review(decision.review.uuid)
    if not decision.sequence:  # no part of the record: an answer to a golden image
        return _take_back_golden(review, decision, user)
    if not decision.may_be_reversed_by(user):
        raise NotPermittedError(explain_irreversible(decision, user))
    _require_distance(review, decision, user)
    if decision.reviewer_id != user.pk and not note.strip():
        raise InvalidDecisionError("Give a reason for reversing another person's decision.")
    if review.asset.is_purged:
        raise ConflictError(REMOVED)
    if decision.pk not in find_reversible(Decision.objects.list_effective(review)):
        raise ConflictError(SUPERSEDED)
    reversal = record_decision(
        review=review,
        verdict=Verdict.REVERSE,
        note=note.strip(),
        reviewer=user,
        policy_id=review.policy_id,
        reverses=decision,
        batch=batch,
    )
    effective = Decision.objects.list_effective(review)
    second_opinions.restore(review=review, effective=effective, reversed_one=decision)
    review.claim_for(user)
    webhook_events.queue_events(review)
    return reversal


def _take_back_golden(review: Review, decision: Decision, user: User) -> Decision:
    """Open the question of a golden image again, and claim it; ``decision`` is not recorded."""
    answer = golden_images.find_undoable(user, decision.uuid)
    if answer is None:
        raise NotPermittedError(explain_irreversible(decision, user))
    golden_images.take_back(answer)
    if review.is_decided:
        review.hold_golden(user)
    return decision


@atomic_in_turn()
def withdraw(
    *,
    review: Review | ReviewRef,
    user: User,
    categories: Sequence[str],
    note: str,
    batch: UUID | None = None,
) -> Decision:
    """Reverse the approval of a review and reject it: both, or neither. Return the rejection.

    Only the rejection belongs to the ``batch``, so that its reversal opens the image again.

    Raises as ``reverse`` and ``decide``.
    """
    locked = _lock_review(review.uuid)
    if locked.status != Status.APPROVED:
        raise ConflictError(_explain_conflict(locked, user))
    approval = Decision.objects.list_effective(locked)[-1]
    reverse(decision=approval.second_of or approval, user=user, note=note)
    return decide(
        review=locked,
        user=user,
        verdict=Verdict.REJECT,
        categories=categories,
        note=note,
        batch=batch,
    )


@atomic_in_turn()
def change_blur(
    *, review: Review | ReviewRef, user: User, is_blurred: bool, note: str = ""
) -> Decision:
    """Reverse the approval of a review and approve it again, delivered blurred or not.

    Both, or neither. Return the new approval. Raises as ``reverse`` and ``decide``.
    """
    locked = _lock_review(review.uuid)
    _require_rank(locked, user)
    if locked.status != Status.APPROVED or locked.is_blind_to(user):
        raise ConflictError(_explain_conflict(locked, user))
    if locked.is_blurred == is_blurred:
        raise ConflictError(f"It is already delivered {'' if is_blurred else 'un'}blurred.")
    approval = Decision.objects.list_effective(locked)[-1]
    reverse(decision=approval.second_of or approval, user=user, note=note)
    return decide(
        review=locked, user=user, verdict=Verdict.APPROVE, is_blurred=is_blurred, note=note
    )


@atomic_in_turn()
def escalate_approved(
    *,
    review: Review | ReviewRef,
    user: User,
    categories: Sequence[str],
    note: str,
    batch: UUID | None = None,
) -> Decision:
    """Send an approved image to the seniors, with a reason. It is not served meanwhile.

    Raises NotPermittedError, InvalidDecisionError, ConflictError.
    """
    locked = _lock_review(review.uuid)
    _require_rank(locked, user)
    chosen = check_categories(Verdict.ESCALATE, categories)
    if not note.strip():
        raise InvalidDecisionError("Give a reason for the senior moderator.")
    # A claim on an image that wants no opinion is one on a golden image, and keeps nobody off.
    is_asked = locked.second_opinion == Review.SecondOpinion.WANTED
    is_taken = is_asked and locked.is_claimed and not locked.is_held_by(user)
    if locked.status != Status.APPROVED or is_taken:
        raise ConflictError(_explain_conflict(locked, user))
    if locked.asset.is_purged:
        raise ConflictError(REMOVED)
    decision = record_decision(
        review=locked,
        verdict=Verdict.ESCALATE,
        categories=chosen,
        note=note.strip(),
        reviewer=user,
        policy_id=locked.policy_id,
        batch=batch,
    )
    locked.move_to(
        Status.ESCALATED,
        only_from=Status.APPROVED,
        decided_at=None,
        decided_by=None,
        claimed_by=None,
        claimed_until=None,
        is_blurred=False,
        second_opinion=Review.SecondOpinion.NONE,
    )
    webhook_events.queue_events(locked)
    return decision


def _require_distance(review: Review, decision: Decision, user: User) -> None:
    """Refuse a reversal that would settle something to which the user is a party.

    Raises NotPermittedError.
    """
    if decision.reviewer_id != user.pk and review.is_own_request_of(user):
        raise NotPermittedError(OWN_REQUEST)
    if not review.is_disputed:
        return
    opinions = Decision.objects.list_effective(review)
    if decision not in opinions or user.pk not in {row.reviewer_id for row in opinions}:
        return
    if decision.reviewer_id != user.pk:
        raise NotPermittedError(PARTY)
    # Reversing the second opinion restores the first. Reversing the first drops the second one too:
    # that may correct a slip but must not win a dispute.
    if decision.second_of_id is None and timezone.now() - decision.created_at > UNDO_WINDOW:
        raise NotPermittedError(DISPUTED)


def find_reversible(effective: Sequence[Decision]) -> set[int]:
    """Return the keys of a review's reversible decisions.

    These are the last decision in effect and, if that is a second opinion, the first one.
    """
    return {key for row in effective[-1:] for key in (row.pk, row.second_of_id) if key is not None}


def count_exposure(user: User, seen: Iterable[tuple[Review, Sequence[str]]]) -> None:
    """Count images that have left the user's screen, with the decided categories."""
    severe = images = 0
    for review, categories in seen:
        images += 1
        severe += bool(
            SEVERE & {review.top_category_l1, *(slug.partition(".")[0] for slug in categories)}
        )
    Exposure.add(user.pk, images=images, severe=severe)


def find_undoable(*, user: User) -> Decision | None:
    """Return the decision that "undo" reverses: the user's newest one if it is still reversible.

    It may be the answer to a golden image, in the form of a decision without a sequence.
    """
    newest = _find_newest_undoable(user)
    answer = golden_images.find_undoable(user)
    if answer is None or answer.answered_at is None:
        return newest
    if newest is not None and newest.created_at > answer.answered_at:
        return newest
    return answer.as_decision()


def _find_newest_undoable(user: User) -> Decision | None:
    newest = (
        Decision.objects.filter(reviewer=user)
        .newest_first()
        .select_related("review", "reversed_by")
        .first()
    )
    while newest is not None and newest.verdict == Verdict.REVERSE:
        newest = (
            Decision.objects.filter(
                reviewer=user, sequence__lt=newest.sequence, reversed_by__isnull=True
            )
            .exclude(verdict=Verdict.REVERSE)
            .newest_first()
            .select_related("review", "reversed_by")
            .first()
        )
    return newest if newest is not None and newest.may_be_reversed_by(user) else None


def _require_rank(review: Review, user: User) -> None:
    if rank := review.missing_rank(user):
        raise NotPermittedError(NO_RANK[rank])
    if review.is_own_request_of(user):
        raise NotPermittedError(OWN_REQUEST)
    if (
        review.is_disputed
        and Decision.objects.effective().filter(review=review, reviewer=user).exists()
    ):
        raise NotPermittedError(PARTY)


def check_categories(
    verdict: Verdict, slugs: Sequence[str], *, is_blurred: bool = False
) -> list[str]:
    """Return a verdict's categories, sorted; [] for an approval that is not blurred.

    Raises InvalidDecisionError.
    """
    if verdict not in VERDICTS:
        raise InvalidDecisionError("Choose approve, reject or escalate.")
    if is_blurred and verdict != Verdict.APPROVE:
        raise InvalidDecisionError("Only an approved image can be delivered blurred.")
    allowed = taxonomy.list_reject_reasons()
    unknown = [slug for slug in slugs if slug not in allowed]
    if unknown:
        raise InvalidDecisionError(
            f"{taxonomy.join_names(unknown[:1])} is not a category a rejection can name. Choose a"
            " second-level one."
        )
    if verdict == Verdict.REJECT and not slugs:
        raise InvalidDecisionError(
            "A rejection needs at least one category. Choose what the image shows."
        )
    return sorted(set(slugs)) if is_blurred or verdict != Verdict.APPROVE else []


def _explain_conflict(review: Review, user: User) -> str:
    last = None if review.wants_opinion_of(user) else Decision.objects.find_newest(review)
    if last is not None and review.status in {Status.APPROVED, Status.REJECTED, Status.ESCALATED}:
        details = f" ({last.category_names})" if last.categories else ""
        return (
            f"Already {last.past_tense}{details} by {last.author} at {last.created_at:%H:%M:%S}"
            " UTC."
        )
    if review.status == Status.CLASSIFYING:
        return "This image is still being classified."
    if review.is_claimed and review.claimed_by:
        return (
            f"{review.claimed_by.get_username()} has taken this review, until"
            f" {review.claimed_until:%H:%M:%S} UTC."
        )
    return "Your claim on this review has expired. Take it again to decide it."


def explain_irreversible(decision: Decision, user: User) -> str:
    """Return a message for a decision that the user may not reverse."""
    if decision.verdict == Verdict.REVERSE:
        return "A reversal cannot be reversed. Decide the image again."
    if hasattr(decision, "reversed_by"):
        return "This decision has been reversed already."
    if decision.reviewer_id != user.pk and decision.review.is_own_request_of(user):
        return OWN_REQUEST
    if decision.reviewer_id != user.pk:
        return "Somebody else's decision can only be reversed by a senior moderator."
    return "The undo window is over. A senior moderator can reverse this decision."
