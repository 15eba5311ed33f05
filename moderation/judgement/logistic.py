"""Logistic regression that starts from a score and leaves it only as far as the data insist.

The score of an image is ``bias + factor · zero_shot + direction · vector``. A normal prior holds
``factor`` near 1 and ``direction`` near 0, so without data this is the zero-shot score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

FACTOR_VARIANCE: Final = 0.25  # of the prior: factor 1 ± ½
BIAS_VARIANCE: Final = 9.0  # 0 ± 3: zero-shot scores may be far from calibrated
_STEPS: Final = 50
TOLERANCE: Final = 1e-8  # change of a logit, after which the solution is exact enough

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Design:
    """What the images are like: zero-shot logits, and vectors with mean 0 and mean square 1."""

    zero_shot: Floats  # [n]
    vectors: Floats  # [n, dim]
    similarity: Floats  # [n, n], the products of the vectors

    @classmethod
    def of(cls, zero_shot: Floats, vectors: Floats) -> Design:
        return cls(zero_shot, vectors, vectors @ vectors.T)

    def build_kernel(self, variance: float) -> Floats:
        """Return the prior covariance of the images' scores."""
        return (
            variance * self.similarity
            + FACTOR_VARIANCE * np.outer(self.zero_shot, self.zero_shot)
            + BIAS_VARIANCE
        )


def fit_dual(
    kernel: Floats,
    mean: Floats,
    outcomes: Floats,
    weights: Floats,
    *,
    start: Floats | None = None,
    tolerance: float = TOLERANCE,
) -> Floats:
    """Return α, with which the most probable scores are mean + kernel · α.

    Newton's method on the n scores in place of the weights. ``start``: an α to begin with, for
    speed.

    Verdicts that are changed, of a total weight W, move no score by more than W × k, where k is the
    largest number on the kernel's diagonal: the objective is 1-strongly convex in the norm of the
    prior, and its gradient changes by at most W √k. That is a worst case for a fixed prior; where
    the prior is weak, others' verdicts hold the scores much closer.

    Source: Rasmussen, Williams 2006, Gaussian Processes
    for Machine Learning, algorithm 3.1; Bishop 2006, 4.3.3 (IRLS); Bousquet, Elisseeff 2002, JMLR
    2, 499-526, theorem 22 (stability).
    """
    alpha = np.zeros(len(mean)) if start is None else start
    scores = mean + kernel @ alpha
    objective = _compute_objective(alpha, scores, mean, outcomes, weights)
    for _ in range(_STEPS):
        p = compute_sigmoid(scores)
        curvature = weights * np.maximum(p * (1 - p), 1e-10)
        root = np.sqrt(curvature)
        target = curvature * (scores - mean) + weights * (outcomes - p)
        system = root[:, None] * kernel * root[None, :]
        system.flat[:: len(mean) + 1] += 1.0
        step = target - root * np.linalg.solve(system, root * (kernel @ target)) - alpha
        # Halved until it helps: a whole step may jump too far where the curve is flat.
        for _ in range(30):
            tried = alpha + step
            moved = mean + kernel @ tried
            value = _compute_objective(tried, moved, mean, outcomes, weights)
            if value <= objective + 1e-12 * abs(objective):
                break
            step = step / 2
        change = float(np.abs(moved - scores).max())
        alpha, scores, objective = tried, moved, value
        if change < tolerance:
            break
    return alpha


def _compute_objective(
    alpha: Floats, scores: Floats, mean: Floats, outcomes: Floats, weights: Floats
) -> float:
    losses = np.logaddexp(0.0, scores) - outcomes * scores
    return float(weights @ losses + 0.5 * alpha @ (scores - mean))


def compute_sigmoid(scores: Floats) -> Floats:
    """Return the probabilities of logits, without overflow."""
    small = np.exp(-np.abs(scores))
    return np.where(scores >= 0, 1.0, small) / (1.0 + small)
