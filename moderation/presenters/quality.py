"""Context of the page Quality: the team's agreement.

All figures are sums over everybody and reveal nothing about a single person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone

from moderation import queues, taxonomy
from moderation.models import ChainHead, DailyStats, Review, WordStatsProgress

PERIODS = (7, 30, 90)
# Shares with a smaller base are marked as unreliable.
FEW = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """The counts of one category, with their shares."""

    name: str
    agreed: int = 0
    disagreed: int = 0
    by_people: int = 0
    people_reversed: int = 0
    by_policy: int = 0
    policy_reversed: int = 0

    @property
    def twice(self) -> int:
        return self.agreed + self.disagreed

    @property
    def is_few(self) -> bool:
        return self.twice < FEW

    @property
    def agreement(self) -> str:
        return _format_share(self.agreed, self.twice)

    @property
    def people_reversals(self) -> str:
        return _format_share(self.people_reversed, self.by_people)

    @property
    def policy_reversals(self) -> str:
        return _format_share(self.policy_reversed, self.by_policy)


def _format_share(part: int, whole: int) -> str:
    if not whole:
        return "–"
    percent = 100 * part / whole
    return f"{percent:.1f} %" if 0 < percent < 10 else f"{percent:.0f} %"


def build_quality(days: int) -> dict[str, Any]:
    """Build the context of the page, with four queries whatever the length of the record."""
    since = timezone.now().date() - timedelta(days=days - 1)
    found = DailyStats.sum_since(since)
    rows = [_build_sums(category.name, found.get(category.slug)) for category in taxonomy.L1]
    rows.append(_build_sums("No category", found.get("")))
    head, progress = (
        ChainHead.objects.filter(pk=1).first(),
        WordStatsProgress.objects.filter(pk=1).first(),
    )
    return {
        "days": days,
        "periods": PERIODS,
        "since": since,
        "whole": _add_up("All categories", found.values()),
        "rows": rows,
        "few": FEW,
        "wanted": queues.count_bounded(Review.objects.awaiting_second_opinion()),
        "uncounted": max(
            0, (head.sequence if head else 0) - (progress.sequence if progress else 0)
        ),
    }


def _build_sums(name: str, counts: Mapping[str, int] | None) -> Sums:
    return Sums(name=name, **(counts or {}))


def _add_up(name: str, parts: Iterable[Mapping[str, int]]) -> Sums:
    sums: dict[str, int] = {}
    for counts in parts:
        for field, count in counts.items():
            sums[field] = sums.get(field, 0) + count
    return _build_sums(name, sums)
