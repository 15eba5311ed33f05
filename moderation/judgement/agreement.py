"""Agreement: of two people on the same images, and of two versions of a classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from moderation.judgement.beta import compute_binomial_cdf
from moderation.judgement.estimates import (
    CONFIDENCE,
    MINIMUM,
    Figure,
    check_confidence,
    check_counts,
)


def estimate_kappa(
    table: Sequence[Sequence[int]], *, confidence: float = CONFIDENCE, minimum: int = MINIMUM
) -> Figure:
    """Return Cohen's kappa with its interval: the agreement of two people beyond chance.

    ``table[i][j]`` counts the images that the first person put into class i and the second into
    class j. 1 is full agreement, 0 that of chance; it can be negative. Not known if both people
    used one class only. Raises ValueError for a table that is not square, or negative counts.
    Source: Cohen 1960, Educational and Psychological Measurement 20, 37-46; standard error: Fleiss,
    Cohen, Everitt 1969, Psychological Bulletin 72, 323-327, formula (13). At full agreement
    that error is 0; the lower end is then the one with one more image, on which they disagree.
    """
    check_confidence(confidence)
    size = len(table)
    if size < 2 or any(len(row) != size for row in table):
        raise ValueError("Agreement needs a square table with at least two classes.")
    for row in table:
        for count in row:
            check_counts(count, count)
    n = sum(map(sum, table))
    if n < max(minimum, 1):
        return Figure.of_unknown(n)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    kappa, error = _compute_kappa(table, n)
    if kappa is None:
        return Figure.of_unknown(n)
    low, high = max(-1.0, kappa - z * error), min(1.0, kappa + z * error)
    if kappa == 1.0:
        low = min(low, _doubt_full_agreement(table, n, z))
    return Figure(kappa, min(low, kappa), max(high, kappa), n)


def _compute_kappa(table: Sequence[Sequence[float]], n: float) -> tuple[float | None, float]:
    """Return kappa and its standard error, or None if agreement by chance is certain."""
    size = range(len(table))
    shares = [[count / n for count in row] for row in table]
    first = [math.fsum(row) for row in shares]
    second = [math.fsum(shares[i][j] for i in size) for j in size]
    observed = math.fsum(shares[i][i] for i in size)
    chance = math.fsum(a * b for a, b in zip(first, second, strict=True))
    if chance >= 1 - 1e-12:
        return None, 0.0
    kappa = (observed - chance) / (1 - chance)
    rest = 1 - kappa
    agreed = math.fsum(shares[i][i] * (1 - (first[i] + second[i]) * rest) ** 2 for i in size)
    split = math.fsum(
        shares[i][j] * (second[i] + first[j]) ** 2 for i in size for j in size if i != j
    )
    variance = agreed + rest**2 * split - (kappa - chance * rest) ** 2
    return kappa, math.sqrt(max(variance, 0.0) / n) / (1 - chance)


def _doubt_full_agreement(table: Sequence[Sequence[int]], n: int, z: float) -> float:
    """Return the lower end for full agreement: the one if the next image were disputed."""
    disputed = [[float(count) for count in row] for row in table]
    used = sorted(range(len(table)), key=lambda i: -table[i][i])[:2]
    for i, j in (used, used[::-1]):
        disputed[i][j] += 0.5
    kappa, error = _compute_kappa(disputed, n + 1)
    return max(-1.0, (kappa or 0.0) - z * error)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions on the same images."""

    only_first: int  # images that only the first one judged correctly
    only_second: int
    p_value: float  # of a difference this large between versions that are equally good


def compare_versions(only_first: int, only_second: int) -> Comparison:
    """Compare two versions by the images on which one is correct and the other is not.

    The exact test of McNemar, two-sided. Raises ValueError for negative counts. Source: McNemar
    1947, Psychometrika 12, 153-157: twice the tail of the binomial distribution with p = ½.
    """
    check_counts(only_first, only_first)
    check_counts(only_second, only_second)
    tail = compute_binomial_cdf(min(only_first, only_second), only_first + only_second, 0.5)
    return Comparison(only_first, only_second, min(1.0, 2 * tail))
