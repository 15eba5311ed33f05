"""Add counted rows to the running totals.

The streams of ``period_counts`` call this under the lock of their own row, in the transaction that
moves their position: every row is counted exactly once. No two streams share a measure.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from moderation.models import RunningTotal

Measure = RunningTotal.Measure


@dataclass(slots=True)
class _Sum:
    count: int = 0
    total: float = 0.0


class Totals:
    """Differences added to the running totals."""

    def __init__(self) -> None:
        self._sums: defaultdict[tuple[str, str], _Sum] = defaultdict(_Sum)

    def add(self, measure: Measure, part: str, count: int = 1, total: float = 0.0) -> None:
        """Add events; a negative count is refused, because a total never falls."""
        if count < 0 or total < 0:
            raise ValueError(f"{measure} {part}: a running total cannot fall.")
        found = self._sums[measure, part]
        found.count += count
        found.total += total

    def store(self) -> None:
        """Add everything to the stored totals. Runs under the lock of the stream."""
        measures = {measure for measure, _ in self._sums}
        rows = RunningTotal.objects.filter(measure__in=measures) if measures else ()
        known = {(row.measure, row.part): row for row in rows}
        changed = []
        for (measure, part), added in self._sums.items():
            row = known.get((measure, part)) or RunningTotal(measure=measure, part=part)
            row.count += added.count
            row.total += added.total
            changed.append(row)
        RunningTotal.objects.bulk_create(
            changed,
            update_conflicts=True,
            unique_fields=["measure", "part"],
            update_fields=["count", "total"],
            batch_size=100,
        )
