"""Add decisions to the daily stats.

Counts are of events, not of states: a past day changes only by an undo.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, date

from moderation.models import DailyStats, Decision
from moderation.models.daily_stats import FIELDS
from moderation.models.decisions import STATUS_AFTER, Verdict
from moderation.models.reviews import Review

Change = tuple[date, str, str, int]  # day, L1, field, difference


def count_decisions(decisions: Iterable[Decision]) -> None:
    """Add decisions to the stats of their days.

    Each decision must be passed exactly once, with its related rows loaded.
    """
    steps: Counter[tuple[date, str, str]] = Counter()
    for decision in decisions:
        for day, l1, name, by in _iter_changes(decision):
            steps[day, l1, name] += by
    places = {(day, l1) for day, l1, _ in steps}
    known = DailyStats.objects.filter(day__in={day for day, _ in places})
    rows = {(row.day, row.l1): row for row in known if (row.day, row.l1) in places}
    for (day, l1, name), by in steps.items():
        row = rows.setdefault((day, l1), DailyStats(day=day, l1=l1))
        setattr(row, name, getattr(row, name) + by)
    DailyStats.objects.bulk_create(
        rows.values(), update_conflicts=True, unique_fields=["day", "l1"], update_fields=FIELDS
    )


def _iter_changes(decision: Decision) -> Iterator[Change]:
    taken_back = decision.reverses
    if taken_back is None:
        if name := _choose_field(decision):
            yield _day(decision), decision.review.top_category_l1, name, 1
        return
    name, l1 = _choose_field(taken_back), decision.review.top_category_l1
    is_own = taken_back.reviewer_id == decision.reviewer_id
    if name and (is_own or taken_back.second_of is not None):
        # An undo removes the original decision from the counts.
        yield _day(taken_back), l1, name, -1
    elif name:
        yield (
            _day(decision),
            l1,
            "policy_reversed" if taken_back.by_policy else "people_reversed",
            1,
        )


def _choose_field(decision: Decision) -> str:
    """Return the field that counts a decision; "" for one that is not counted.

    Not counted are escalations, and audits: they agree with the policy, not within the team. An
    approval to be delivered blurred counts like any other.
    """
    if decision.second_of is not None and decision.second_of.by_policy:
        return ""
    if decision.second_of is not None:
        return "disagreed" if decision.disagrees else "agreed"
    if STATUS_AFTER[Verdict(decision.verdict)] not in Review.DECIDED:
        return ""
    return "by_policy" if decision.by_policy else "by_people"


def _day(decision: Decision) -> date:
    return decision.created_at.astimezone(UTC).date()
