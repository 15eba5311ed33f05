"""Drift: which week's share is not explained by chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from moderation.judgement.beta import compute_binomial_cdf
from moderation.judgement.estimates import MINIMUM, check_counts

# Chance lies outside of the limits as often as outside of three standard deviations: one week in
# 370.
_TAIL: Final = NormalDist().cdf(-3)
BASELINE: Final = 100  # images of the other weeks: a line from fewer is too uncertain


@dataclass(frozen=True, slots=True)
class Week:
    """One week's share, and the limits within which chance keeps it.

    Without a centre, the limits are not known: too few images in this week, or in the others.
    """

    hits: int
    n: int
    centre: float | None = None  # the share in all other weeks
    low: float | None = None
    high: float | None = None

    @property
    def value(self) -> float | None:
        return self.hits / self.n if self.n else None

    @property
    def is_signal(self) -> bool:
        """Return whether the share lies outside of its limits."""
        if self.value is None or self.low is None or self.high is None:
            return False
        return not self.low <= self.value <= self.high


def chart_weeks(counts: Sequence[tuple[int, int]], *, minimum: int = MINIMUM) -> tuple[Week, ...]:
    """Return the p-chart of weekly counts (hits, images).

    Each week is compared with all others, so an unusual week does not hide in its own centre line.
    The limits are quantiles of the binomial distribution, which hold for few images too, where
    three standard deviations do not. Raises ValueError for impossible counts. Source: Montgomery
    2019, Introduction to Statistical Quality Control, 7.2 (variable sample size; small p).
    """
    for hits, n in counts:
        check_counts(hits, n)
    all_hits, all_n = sum(hits for hits, _ in counts), sum(n for _, n in counts)
    weeks = []
    for hits, n in counts:
        others = all_n - n
        if n < max(minimum, 1) or others < BASELINE:
            weeks.append(Week(hits, n))
            continue
        # Half a hit more: a line at exactly 0 would make the first hit ever a signal.
        centre = (all_hits - hits + 0.5) / (others + 1)
        weeks.append(Week(hits, n, centre, *_find_limits(centre, n)))
    return tuple(weeks)


def _find_limits(p: float, n: int) -> tuple[float, float]:
    """Return the smallest and the largest share that chance explains."""
    low = _find_first(n, lambda k: compute_binomial_cdf(k, n, p) > _TAIL)
    # At most k hits are at least n - k passes; the small tail itself is computed, not 1 - tail.
    high = _find_first(n, lambda k: compute_binomial_cdf(n - k - 1, n, 1 - p) <= _TAIL)
    return low / n, high / n


def _find_first(n: int, is_reached: Callable[[int], bool]) -> int:
    """Return the smallest number 0..n from which on the condition holds."""
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        if is_reached(middle):
            high = middle
        else:
            low = middle + 1
    return low
