"""Shares with their intervals, and how many images an audit needs.

All shares are fractions 0..1. An estimate from too few images is not known, and says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from moderation.judgement.beta import find_beta_quantile

CONFIDENCE: Final = 0.95
# Below this, an interval of 95 % is wider than 35 points around one half: no figure to act on.
MINIMUM: Final = 30


@dataclass(frozen=True, slots=True)
class Figure:
    """An estimate with its interval, and the number of images that it is based on.

    Without a value, low and high, the figure is not known.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int

    def __post_init__(self) -> None:
        """Raise ValueError for a half-known figure, or a value outside of its interval."""
        if self.n < 0:
            raise ValueError(f"A figure cannot be based on {self.n} images.")
        if self.value is None or self.low is None or self.high is None:
            if not self.value is self.low is self.high is None:
                raise ValueError("A figure is known with its interval, or not at all.")
        elif not self.low <= self.value <= self.high:
            raise ValueError(f"{self.value} is not within {self.low} to {self.high}.")

    @classmethod
    def of_unknown(cls, n: int) -> Figure:
        """Return a figure that is not known from n images."""
        return cls(None, None, None, n)

    @property
    def is_known(self) -> bool:
        return self.value is not None


def check_counts(hits: int, n: int) -> None:
    """Raise ValueError for counts that are impossible."""
    if n < 0 or hits < 0:
        raise ValueError(f"Counts cannot be negative: {hits} of {n}.")
    if hits > n:
        raise ValueError(f"There cannot be {hits} hits among {n} images.")


def check_confidence(confidence: float) -> None:
    """Raise ValueError for a confidence that is not between 0 and 1."""
    if not 0 < confidence < 1:
        raise ValueError(f"A confidence lies between 0 and 1, {confidence} does not.")


def find_wilson_bounds(hits: float, n: float, z: float) -> tuple[float, float]:
    """Return both ends of Wilson's score interval for z standard deviations. n must not be 0.

    ``hits`` and ``n`` may be fractions: weighted counts have an effective n. Source: Wilson 1927,
    JASA 22, 209-212; Brown, Cai, DasGupta 2001, Statistical Science 16, 101-133, formula (4):
    (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n).
    """
    share, square = hits / n, z * z / n
    centre = share + square / 2
    reach = z * math.sqrt(share * (1 - share) / n + square / (4 * n))
    low, high = (centre - reach) / (1 + square), (centre + reach) / (1 + square)
    # Exactly 0 and 1 but for rounding.
    return (
        0.0 if hits == 0 else min(max(low, 0.0), share),
        1.0 if hits == n else max(min(high, 1.0), share),
    )


def estimate_wilson(
    hits: int, n: int, *, confidence: float = CONFIDENCE, minimum: int = MINIMUM
) -> Figure:
    """Return a share with Wilson's two-sided interval. Raises ValueError for impossible counts."""
    check_counts(hits, n)
    check_confidence(confidence)
    if n < max(minimum, 1):
        return Figure.of_unknown(n)
    low, high = find_wilson_bounds(hits, n, NormalDist().inv_cdf((1 + confidence) / 2))
    return Figure(hits / n, low, high, n)


def find_wilson_lower(hits: float, n: float, *, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided lower bound of a share; 0 without images.

    ``hits`` and ``n`` may be fractions. Raises ValueError for impossible counts.
    """
    if not 0 <= hits <= n:
        raise ValueError(f"There cannot be {hits} hits among {n} images.")
    check_confidence(confidence)
    return find_wilson_bounds(hits, n, NormalDist().inv_cdf(confidence))[0] if n else 0.0


def find_wilson_upper(hits: float, n: float, *, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided upper bound of a share; 1 without images.

    ``hits`` and ``n`` may be fractions. Raises ValueError for impossible counts.
    """
    return 1.0 - find_wilson_lower(n - hits, n, confidence=confidence)


def estimate_jeffreys(
    hits: int, n: int, *, confidence: float = CONFIDENCE, minimum: int = MINIMUM
) -> Figure:
    """Return a share with Jeffreys' two-sided interval. Raises ValueError for impossible counts.

    Quantiles of Beta(hits + ½, n - hits + ½); 0 is the lower end without hits, 1 the upper end with
    hits only. Shorter than Wilson's for rare events. Source: Brown, Cai, DasGupta 2001, 4.1.2.
    """
    check_counts(hits, n)
    check_confidence(confidence)
    if n < max(minimum, 1):
        return Figure.of_unknown(n)
    tail = (1 - confidence) / 2
    share, a, b = hits / n, hits + 0.5, n - hits + 0.5
    low = 0.0 if hits == 0 else min(find_beta_quantile(a, b, tail), share)
    high = 1.0 if hits == n else max(find_beta_quantile(a, b, 1 - tail), share)
    return Figure(share, low, high, n)


def find_exact_upper(hits: int, n: int, *, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided upper bound of a share that is never too low; 1 without images.

    It holds at least as often as ``confidence`` says, whatever the true share: for trust, not for
    display. Without hits it is about 3/n ("rule of three"). Raises ValueError for impossible
    counts. Source: Clopper, Pearson 1934, Biometrika 26, 404-413: a quantile of
    Beta(hits + 1, n - hits).
    """
    check_counts(hits, n)
    check_confidence(confidence)
    return 1.0 if hits == n else find_beta_quantile(hits + 1, n - hits, confidence)


def count_audits(limit: float, misses: int = 0, *, confidence: float = CONFIDENCE) -> int:
    """Return how many images must be audited to show that a share is below the limit.

    That many images with at most ``misses`` misses among them have ``find_exact_upper`` at or below
    the limit. Raises ValueError for a limit that is not between 0 and 1.
    """
    if not 0 < limit < 1:
        raise ValueError(f"The limit of a share lies between 0 and 1, {limit} does not.")
    check_counts(misses, misses)
    low, high = misses, misses + 1
    while find_exact_upper(misses, high, confidence=confidence) > limit:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if find_exact_upper(misses, middle, confidence=confidence) > limit:
            low = middle
        else:
            high = middle
    return high
