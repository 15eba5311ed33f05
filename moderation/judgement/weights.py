"""Weights of training examples: no group and no person counts too much."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

GROUP_LIMIT: Final = 4.0  # images for which one group counts at most
PERSON_SHARE: Final = 0.5  # of all weight: nobody outweighs all others together

Floats = NDArray[np.float64]


def cap_weights(
    weights: Sequence[float],
    groups: Sequence[Hashable],
    persons: Sequence[Hashable],
    *,
    group_limit: float = GROUP_LIMIT,
    person_share: float = PERSON_SHARE,
) -> Floats:
    """Return the weights, made smaller where a group or a person has too much of them.

    A group keeps at most ``group_limit``. Then a person keeps at most ``person_share`` of the sum
    of what is returned. With too few persons for that (a half: one or two) this limit does not
    apply; ``find_largest_share`` tells. A weight never grows.
    Raises ValueError for weights that are not positive.
    """
    result = np.asarray(weights, dtype=np.float64)
    if not (np.isfinite(result).all() and (result > 0).all()):
        raise ValueError("A weight must be a positive number.")
    if not 0 < person_share <= 1 or group_limit <= 0:
        raise ValueError(f"Limits of {group_limit} and {person_share} are impossible.")
    totals, places = _sum_by(result, groups)
    result = result * np.minimum(1.0, group_limit / totals)[places]
    totals, places = _sum_by(result, persons)
    limit = _find_person_limit(totals, person_share)
    return result * np.minimum(1.0, limit / totals)[places]


def _sum_by(weights: Floats, keys: Sequence[Hashable]) -> tuple[Floats, NDArray[np.intp]]:
    """Return the sum of each key, and the place of each weight's key among them."""
    numbers: dict[Hashable, int] = {}
    places = np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.intp)
    totals: Floats = np.bincount(places, weights=weights).astype(np.float64)
    return totals, places


def _find_person_limit(totals: Floats, share: float) -> float:
    """Return the largest limit t with t ≤ share × Σ min(total, t); no limit if none."""
    ordered = np.sort(totals)[::-1]
    if len(ordered) * share <= 1:
        return float(ordered[0])
    rest = float(ordered.sum())
    for capped, total in enumerate(ordered):
        # With this many persons at the limit: t = share (capped t + rest).
        limit = share * rest / (1 - share * capped)
        if total <= limit:
            return limit
        rest -= float(total)
        if share * (capped + 1) >= 1:
            break
    return float(ordered[-1])  # only if rounding hid the solution


def find_largest_share(weights: Floats, persons: Sequence[Hashable]) -> float:
    """Return the share of all weight that one person has at most."""
    totals, _ = _sum_by(weights, persons)
    return float(totals.max() / totals.sum())
