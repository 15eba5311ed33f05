"""Decide and reverse many reviews together, with the functions that handle a single one.

A batch is one transaction with a savepoint per decision: reviews changed by others meanwhile are
left out and named, and a crash leaves nothing half done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID, uuid4

from generation.core.db.write_lock import atomic_in_turn
from moderation.models import Decision, Review, Verdict
from moderation.services import decisions as decision_service

if TYPE_CHECKING:
    from django.contrib.auth.models import User

T = TypeVar("T")
LIMIT = 300
NAMED_MAX = 5  # reviews left out that are named in a message; longer lists are not readable


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A review that the batch did not change, and the reason."""

    review: Review
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The decisions that a batch made, and the reviews that it left out."""

    batch: UUID
    done: Sequence[Decision] = ()
    left_out: Sequence[LeftOut] = field(default=())

    @property
    def message(self) -> str:
        """The reviews left out, by name; empty if none was."""
        if not self.left_out:
            return ""
        named = [f"{one.review.asset.short_id}: {one.reason}" for one in self.left_out[:NAMED_MAX]]
        more = len(self.left_out) - len(named)
        if more:
            named.append(f"And {more} more.")
        return f"{len(self.left_out)} left out. {' '.join(named)}"


@atomic_in_turn()
def decide_many(
    *,
    reviews: Iterable[Review],
    user: User,
    verdict: Verdict,
    is_blurred: bool = False,
    categories: Sequence[str] = (),
    note: str = "",
    batch: UUID | None = None,
) -> Outcome:
    """Record one verdict on each of the reviews that this user holds.

    ``batch`` makes the call idempotent: a repeated batch returns the first outcome.

    Raises NotPermittedError, or InvalidDecisionError if the verdict is invalid for all.
    """
    if not decision_service.may_decide(user):
        raise decision_service.NotPermittedError("You can view but not decide.")
    batch = batch or uuid4()
    locked = _lock(review.pk for review in reviews)
    if (before := _find_repeated(batch, user)) is not None:
        return before

    def decide(review: Review) -> Decision:
        return decision_service.decide(
            review=review,
            user=user,
            verdict=verdict,
            is_blurred=is_blurred,
            categories=categories,
            note=note,
            batch=batch,
        )

    return _apply_to_each(batch, [(review, review) for review in locked], decide)


@atomic_in_turn()
def reverse_many(*, batch: UUID, user: User, note: str = "") -> Outcome:
    """Reverse all decisions of a batch, as a new batch; leave out reviews decided again since.

    Raises NotPermittedError if the user may reverse none of them, ConflictError if all reviews
    were decided again, and InvalidDecisionError if somebody else's decision is reversed without a
    reason.
    """
    made = Decision.objects.of_batch(batch).exclude(verdict=Verdict.REVERSE)
    locked = {review.pk: review for review in _lock(made.values_list("review_id", flat=True))}
    # Read under the locks: another request may have reversed the batch meanwhile.
    decisions = list(made)
    if not any(decision.may_be_reversed_by(user) for decision in decisions):
        raise decision_service.NotPermittedError(_explain_refusal(decisions, user))
    name = uuid4()

    def reverse(decision: Decision) -> Decision:
        return decision_service.reverse(decision=decision, user=user, note=note, batch=name)

    outcome = _apply_to_each(
        name, [(locked[decision.review_id], decision) for decision in decisions], reverse
    )
    if not outcome.done:
        raise decision_service.ConflictError(f"Nothing was reversed. {outcome.message}")
    return outcome


@atomic_in_turn()
def withdraw_many(
    *,
    reviews: Iterable[Review],
    user: User,
    categories: Sequence[str],
    note: str,
    batch: UUID | None = None,
) -> Outcome:
    """Withdraw approved images: a senior rejects them, a moderator sends them to the seniors.

    ``batch`` makes the call idempotent. Raises as ``decide_many``.
    """
    if not user.has_perm("moderation.decide_review"):
        raise decision_service.NotPermittedError("You can view but not decide.")
    is_senior = user.has_perm("moderation.decide_escalated_review")
    act = decision_service.withdraw if is_senior else decision_service.escalate_approved
    name = batch or uuid4()
    locked = _lock(review.pk for review in reviews)
    if (before := _find_repeated(name, user)) is not None:
        return before

    def withdraw(review: Review) -> Decision:
        return act(review=review, user=user, categories=categories, note=note, batch=name)

    return _apply_to_each(name, [(review, review) for review in locked], withdraw)


def _apply_to_each(
    batch: UUID, items: Iterable[tuple[Review, T]], act: Callable[[T], Decision]
) -> Outcome:
    done, left_out = [], []
    for review, item in items:
        try:
            done.append(act(item))
        except decision_service.InvalidDecisionError:
            raise  # invalid for all reviews alike
        except decision_service.DecisionError as error:
            left_out.append(LeftOut(review=review, reason=str(error)))
    return Outcome(batch=batch, done=done, left_out=left_out)


def _lock(primary_keys: Iterable[int]) -> list[Review]:
    """Lock the reviews in order of primary key, before the record is locked.

    The fixed order prevents deadlocks between two batches, or a batch and a single reversal.
    """
    wanted = set(primary_keys)
    if not wanted:
        raise decision_service.InvalidDecisionError("Select at least one image.")
    if len(wanted) > LIMIT:
        raise decision_service.InvalidDecisionError(
            f"At most {LIMIT} images can be decided in one batch."
        )
    rows = Review.objects.select_for_update(of=("self",)).select_related("asset")
    return list(rows.filter(pk__in=wanted).order_by("pk"))


def _find_repeated(batch: UUID, user: User) -> Outcome | None:
    done = list(Decision.objects.of_batch(batch))
    if any(decision.reviewer_id != user.pk for decision in done):
        raise decision_service.InvalidDecisionError("This id belongs to another batch.")
    return Outcome(batch=batch, done=done) if done else None


def _explain_refusal(decisions: Sequence[Decision], user: User) -> str:
    if all(hasattr(decision, "reversed_by") for decision in decisions):
        return "All of these decisions have been reversed already."
    if any(decision.reviewer_id != user.pk for decision in decisions):
        return "Somebody else's decisions can only be reversed by a senior moderator."
    return "The undo window is over. A senior moderator can reverse these decisions."
