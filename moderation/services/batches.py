"""Many decisions in one go, by the same verb that makes a single one, and the way back from all of
them at once.

One transaction holds them all, and each verb is a savepoint in it: what somebody else was faster
with is left out and named, and a crash leaves nothing half done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID, uuid4

from django.db import transaction

from moderation.models import Decision, Review, Verdict
from moderation.services import decisions as desk

if TYPE_CHECKING:
    from django.contrib.auth.models import User

T = TypeVar("T")
LIMIT = 300
NAMED = 5  # of those left out; a sentence with fifty images in it helps nobody


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    review: Review
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it: which decisions were made, and what was left out and why."""

    batch: UUID
    done: Sequence[Decision] = ()
    left_out: Sequence[LeftOut] = field(default=())

    @property
    def sentence(self) -> str:
        """What was left out, by name; empty when everything was done."""
        if not self.left_out:
            return ""
        named = [f"{one.review.asset.short_id}: {one.reason}" for one in self.left_out[:NAMED]]
        more = len(self.left_out) - len(named)
        if more:
            named.append(f"And {more} more.")
        return f"{len(self.left_out)} left out. {' '.join(named)}"


@transaction.atomic
def decide_many(
    *,
    reviews: Iterable[Review],
    user: User,
    verdict: Verdict,
    categories: Sequence[str] = (),
    note: str = "",
    batch: UUID | None = None,
) -> Outcome:
    """Record one verdict on each of these reviews that this person holds. Raises NotAllowed or
    Incomplete, for all.

    ``batch`` names the whole: sent twice, it is done once.
    """
    if not user.has_perm("moderation.decide_review"):
        raise desk.NotPermittedError("You may look at reviews but not decide them.")
    batch = batch or uuid4()
    locked = _lock(review.pk for review in reviews)
    if (before := _sent_before(batch, user)) is not None:
        return before

    def decide(review: Review) -> Decision:
        return desk.decide(
            review=review, user=user, verdict=verdict, categories=categories, note=note, batch=batch
        )

    return _each(batch, [(review, review) for review in locked], decide)


@transaction.atomic
def reverse_many(*, batch: UUID, user: User, note: str = "") -> Outcome:
    """Take a whole batch back, as a batch of its own. What has been decided anew since is left out.

    Raises NotAllowed when this person may take none of it back, Incomplete without a reason for
    somebody else's.
    """
    made = Decision.objects.of_batch(batch).exclude(verdict=Verdict.REVERSE)
    locked = {review.pk: review for review in _lock(made.values_list("review_id", flat=True))}
    # Read again under the locks: two people may have asked at once.
    decisions = list(made)
    if not any(decision.may_be_reversed_by(user) for decision in decisions):
        raise desk.NotPermittedError(_why_none(decisions, user))
    name = uuid4()

    def reverse(decision: Decision) -> Decision:
        return desk.reverse(decision=decision, user=user, note=note, batch=name)

    return _each(name, [(locked[decision.review_id], decision) for decision in decisions], reverse)


def _each(batch: UUID, items: Iterable[tuple[Review, T]], act: Callable[[T], Decision]) -> Outcome:
    done, left_out = [], []
    for review, item in items:
        try:
            done.append(act(item))
        except desk.InvalidDecisionError:
            raise  # true of all alike
        except desk.DecisionError as error:
            left_out.append(LeftOut(review=review, reason=str(error)))
    return Outcome(batch=batch, done=done, left_out=left_out)


def _lock(primary_keys: Iterable[int]) -> list[Review]:
    """These reviews, locked in one order and before the record is: so two batches, or a batch and a
    single reversal, never wait for each other in a circle.
    """
    wanted = set(primary_keys)
    if not wanted:
        raise desk.InvalidDecisionError("Select at least one image.")
    if len(wanted) > LIMIT:
        raise desk.InvalidDecisionError(f"At most {LIMIT} images can be decided in one batch.")
    rows = Review.objects.select_for_update(of=("self",)).select_related("asset")
    return list(rows.filter(pk__in=wanted).order_by("pk"))


def _sent_before(batch: UUID, user: User) -> Outcome | None:
    done = list(Decision.objects.of_batch(batch))
    if any(decision.reviewer_id != user.pk for decision in done):
        raise desk.InvalidDecisionError("This batch's name belongs to another one.")
    return Outcome(batch=batch, done=done) if done else None


def _why_none(decisions: Sequence[Decision], user: User) -> str:
    if all(hasattr(decision, "reversed_by") for decision in decisions):
        return "All of these have been taken back already."
    if any(decision.reviewer_id != user.pk for decision in decisions):
        return "Somebody else's decisions can only be reversed by a senior moderator."
    return "The time to undo is over. A senior moderator can reverse these decisions."
