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


def estimate_group_kappa(counts: Sequence[Sequence[int]], *, minimum: int = 3) -> Figure:
    """Return the kappa of several people, with an interval over images.

    ``counts[i][j]`` is the number of people who put image i into class j; images with fewer than
    two answers are left out. Not known from fewer than ``minimum`` images, or if one class only was
    used. Source: Fleiss 1971, Psychological Bulletin 76, 378-382, with a number of people that may
    differ by image; interval: jackknife over images (Efron, Tibshirani 1993, 11), because answers
    on one image are not independent.
    """
    for row in counts:
        for count in row:
            check_counts(count, count)
    rated = [row for row in counts if sum(row) > 1]
    n = len(rated)
    value = _compute_group_kappa(rated)
    if n < max(minimum, 2) or value is None:
        return Figure.of_unknown(n)
    left_out = [_compute_group_kappa(rated[:i] + rated[i + 1 :]) for i in range(n)]
    values = [value if one is None else one for one in left_out]
    mean = math.fsum(values) / n
    spread = math.fsum((one - mean) ** 2 for one in values)
    error = math.sqrt((n - 1) / n * spread)
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    low, high = max(-1.0, value - z * error), min(1.0, value + z * error)
    if value == 1.0:
        # No image was disputed, so the jackknife sees no spread: the next image might be.
        disputed = [*rated, _split(rated[0])]
        low = min(low, _compute_group_kappa(disputed) or 0.0)
    return Figure(value, min(low, value), max(high, value), n)


def _split(row: Sequence[int]) -> list[int]:
    """Return counts of the same size in which one person chose another class."""
    top = max(range(len(row)), key=lambda j: row[j])
    other = (top + 1) % len(row)
    return [count - (j == top) + (j == other) for j, count in enumerate(row)]


def _compute_group_kappa(rated: Sequence[Sequence[int]]) -> float | None:
    total = sum(map(sum, rated))
    if not total:
        return None
    shares = [sum(column) / total for column in zip(*rated, strict=True)]
    chance = math.fsum(share**2 for share in shares)
    if chance >= 1 - 1e-12:
        return None
    agreed = math.fsum(
        sum(count * (count - 1) for count in row) / (sum(row) * (sum(row) - 1)) for row in rated
    ) / len(rated)
    return (agreed - chance) / (1 - chance)


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
