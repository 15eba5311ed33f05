"""A person's own decisions and second opinions, shown to that person only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Count, F, Q
from django.utils import timezone

from moderation.models import Decision, GoldenAnswer, Verdict
from moderation.models.reviews import UNDO_WINDOW
from moderation.services import decisions as decision_service

if TYPE_CHECKING:
    from django.contrib.auth.models import User

LENGTH = 50
# Own stats cover only the newest decisions, which bounds the cost.
LOOK_BACK = 2000
IS_ALIKE = Q(verdict=F("second_of__verdict"), is_blurred=F("second_of__is_blurred"))


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """A decision, and whether it can be reversed now."""

    decision: Decision
    why_not: str  # message; empty if it can be reversed
    brief: str  # short form of why_not
    # seconds left to reverse; None without a limit, or if it cannot be reversed
    seconds: int | None

    @property
    def may_reverse(self) -> bool:
        return not self.why_not


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnStats:
    """Agreement of second opinions with the user, and reversals of the user's decisions."""

    looked_at_twice: int
    agreed: int
    reversed_by_others: int
    reversed_by_self: int
    look_back: int = LOOK_BACK

    @property
    def share(self) -> str:
        return f"{100 * self.agreed / self.looked_at_twice:.0f} %" if self.looked_at_twice else "–"


def list_own_decisions(user: User) -> list[HistoryRow]:
    """Return the user's newest decisions, newest first."""
    rows = Decision.objects.filter(reviewer=user).newest_first()
    found = list(rows.for_list()[:LENGTH])
    newest = _find_reversible(found)
    lines = [_build_row(decision, user, decision.pk in newest) for decision in found]
    # Listed like decisions until they are explained: until then, nothing may tell them apart.
    answers = [row.as_decision() for row in GoldenAnswer.objects.undoable_by(user)[:LENGTH]]
    lines += [_build_row(decision, user, is_newest=True) for decision in answers]
    return sorted(lines, key=lambda line: line.decision.created_at, reverse=True)[:LENGTH]


def _find_reversible(decisions: Sequence[Decision]) -> set[int]:
    """Return the keys of decisions that are still the last in effect on their image."""
    effective: dict[int, list[Decision]] = defaultdict(list)
    rows = Decision.objects.effective().filter(
        review__in={decision.review_id for decision in decisions}
    )
    for row in rows.only("review", "second_of").order_by("sequence"):
        effective[row.review_id].append(row)
    return {
        key
        for of_review in effective.values()
        for key in decision_service.find_reversible(of_review)
    }


def _build_row(decision: Decision, user: User, is_newest: bool) -> HistoryRow:
    why_not, brief, seconds = "", "", None
    if not decision.may_be_reversed_by(user):
        why_not, brief = (
            decision_service.explain_irreversible(decision, user),
            _explain_briefly(decision),
        )
    elif not is_newest:
        why_not, brief = decision_service.SUPERSEDED, "decided again since"
    elif not user.has_perm("moderation.decide_escalated_review"):
        seconds = max(0, int((decision.created_at + UNDO_WINDOW - timezone.now()).total_seconds()))
    return HistoryRow(decision=decision, why_not=why_not, brief=brief, seconds=seconds)


def _explain_briefly(decision: Decision) -> str:
    if decision.verdict == Verdict.REVERSE:
        return "a reversal itself"
    if hasattr(decision, "reversed_by"):
        by = decision.reversed_by
        return f"reversed by {by.reviewer_name}, {by.created_at:%H:%M}"
    return "undo window is over"


def load_own_stats(user: User) -> OwnStats:
    mine = Decision.objects.filter(reviewer=user).newest_first().values("pk")[:LOOK_BACK]
    pairs = Decision.objects.filter(second_of__isnull=False, reversed_by__isnull=True)
    alike = Count("pk", filter=IS_ALIKE)
    as_first = pairs.filter(second_of__in=mine).aggregate(all=Count("pk"), alike=alike)
    as_second = pairs.filter(pk__in=mine).aggregate(all=Count("pk"), alike=alike)
    reversals = Decision.objects.filter(reverses__in=mine).aggregate(
        own=Count("pk", filter=Q(reviewer=user)), others=Count("pk", filter=~Q(reviewer=user))
    )
    return OwnStats(
        looked_at_twice=as_first["all"] + as_second["all"],
        agreed=as_first["alike"] + as_second["alike"],
        reversed_by_others=reversals["others"],
        reversed_by_self=reversals["own"],
    )
