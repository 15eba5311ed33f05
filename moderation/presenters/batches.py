"""Context of a batch: its decisions, and which of them can still be reversed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from moderation.models import Decision, Verdict
from moderation.models.reviews import UNDO_WINDOW

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEntry:
    """A decision of a batch."""

    decision: Decision
    may_reverse: bool
    is_overtaken: bool  # a newer decision on the image is in effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The decisions that were made together."""

    uuid: UUID
    entries: Sequence[BatchEntry]
    is_mine: bool

    @property
    def first(self) -> Decision:
        return self.entries[0].decision

    @property
    def count(self) -> int:
        return len(self.entries)

    @property
    def reversible(self) -> int:
        return sum(entry.may_reverse for entry in self.entries)

    @property
    def is_reversal(self) -> bool:
        return self.first.verdict == Verdict.REVERSE

    @property
    def undo_until(self) -> datetime:
        """End of the undo window of the person who made the batch."""
        return self.first.created_at + UNDO_WINDOW


def load_batch(*, user: User, uuid: UUID) -> Batch | None:
    """Return a batch; None if it has no decisions."""
    decisions = list(Decision.objects.of_batch(uuid))
    if not decisions:
        return None
    last = Decision.objects.map_last_effective(decision.review_id for decision in decisions)
    return Batch(
        uuid=uuid,
        entries=[
            _build_entry(decision, last.get(decision.review_id), user) for decision in decisions
        ],
        is_mine=all(decision.reviewer_id == user.pk for decision in decisions),
    )


def _build_entry(decision: Decision, last: Decision | None, user: User) -> BatchEntry:
    # A second opinion on this decision is reversed with it. Any other newer decision must be
    # reversed first.
    is_last = last is not None and decision.pk in {last.pk, last.second_of_id}
    stands = decision.verdict != Verdict.REVERSE and not hasattr(decision, "reversed_by")
    return BatchEntry(
        decision=decision,
        may_reverse=is_last and decision.may_be_reversed_by(user),
        is_overtaken=stands and not is_last,
    )
