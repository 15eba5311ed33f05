"""Logistic regression that starts from a score and leaves it only as far as the data insist.

The score of an image is ``bias + factor · zero_shot + direction · vector``. A normal prior holds
``factor`` near 1 and ``direction`` near 0, so without data this is the zero-shot score.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

FACTOR_VARIANCE: Final = 0.25  # of the prior: factor 1 ± ½
BIAS_VARIANCE: Final = 9.0  # 0 ± 3: zero-shot scores may be far from calibrated
TOLERANCE: Final = 1e-8  # logits; bound of a score's error at which a search ends
_STEPS: Final = 50
_INNER_STEPS: Final = 200  # of conjugate gradients; a step that is cut off still leads downhill
_INNER_TOLERANCE: Final = 0.1  # share of the gradient that a step may leave

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Design:
    """Features of the images: zero-shot logits, and vectors with mean 0 and mean square 1."""

    columns: Floats  # [n, 2 + dim]: 1, the zero-shot logit, the vector
    squares: Floats  # of the columns

    @classmethod
    def of(cls, zero_shot: Floats, vectors: Floats) -> Design:
        columns = np.column_stack([np.ones(len(vectors)), zero_shot, vectors])
        return cls(columns, columns**2)

    @property
    def zero_shot(self) -> Floats:
        return self.columns[:, 1]

    def score(self, coefficients: Floats) -> Floats:
        """Return the scores [fits, n] by coefficients [fits, 2 + dim]: bias, factor, direction."""
        scores: Floats = coefficients @ self.columns.T
        return scores

    def find_variances(self, strength: float) -> Floats:
        """Return the prior variance of each image's score."""
        variances: Floats = self.squares @ self.build_prior(strength)[1] ** 2
        return variances

    def build_prior(self, strength: float) -> tuple[Floats, Floats]:
        """Return the prior means of the coefficients, and their standard deviations.

        ``strength`` is the variance of the direction.
        """
        dim = self.columns.shape[1] - 2
        mean = np.concatenate([[0.0, 1.0], np.zeros(dim)])
        variances = np.concatenate([[BIAS_VARIANCE, FACTOR_VARIANCE], np.full(dim, strength)])
        return mean, np.sqrt(variances)


def fit(
    design: Design,
    strength: float,
    outcomes: Floats,
    weights: Floats,
    *,
    start: Floats | None = None,
    tolerance: float = TOLERANCE,
) -> Floats:
    """Return the most probable coefficients of several fits: [fits, 2 + dim].

    ``weights`` [fits, n] holds one row for each fit, with 0 for images that it must not see. All
    fits share each product with the images, which is nearly all of the work. ``start``:
    coefficients to begin with, for speed.

    Newton's method with conjugate gradients, on coefficients that are measured in standard
    deviations of their prior. The objective is 1-strongly convex in these, so where its gradient
    has the length g, no score is further than g √k from that of the solution, k being the largest
    prior variance of a score. The search ends where this is below the tolerance.

    Verdicts that are changed, of a total weight W, move no score of the solution by more than
    W × k, because they change the gradient by at most W √k. That is a worst case for a fixed prior;
    where the prior is weak, others' verdicts hold the scores much closer.

    Source: Nocedal, Wright 2006, Numerical Optimization, algorithm 7.1 (Newton-CG); Lin, Weng,
    Keerthi 2008, JMLR 9, 627-650 (for logistic regression); Nesterov 2004, Introductory Lectures on
    Convex Optimization, 2.1.3 (distance from the gradient); Bousquet, Elisseeff 2002, JMLR 2,
    499-526, theorem 22 (stability).
    """
    mean, spread = design.build_prior(strength)
    enough = tolerance / math.sqrt(float(design.find_variances(strength).max()))
    place = np.zeros((len(weights), len(mean))) if start is None else (start - mean) / spread
    scores = design.score(mean + spread * place)
    for _ in range(_STEPS):
        p = compute_sigmoid(scores)
        gradient = place - (weights * (outcomes - p)) @ design.columns * spread
        if _find_lengths(gradient).max() < enough:
            break
        curvature = weights * p * (1 - p)
        step = _find_newton_step(design, spread, curvature, gradient, enough)
        change = design.score(spread * step)
        share = _choose_shares(place, step, scores, change, outcomes, weights)
        place, scores = place + share * step, scores + share * change
    return mean + spread * place


def _find_newton_step(
    design: Design, spread: Floats, curvature: Floats, gradient: Floats, enough: float
) -> Floats:
    """Return steps s with (1 + Aᵀ C A) s ≈ -gradient, A being the columns × the spread.

    Conjugate gradients, preconditioned with the diagonal. They end where each fit leaves little of
    its gradient, or so little that it is solved. Source: Nocedal, Wright 2006, algorithm 5.3.
    """
    diagonal = 1.0 + curvature @ design.squares * spread**2
    limits = np.maximum(_INNER_TOLERANCE * _find_lengths(gradient), enough / 4)
    step, rest = np.zeros_like(gradient), -gradient
    direction = rest / diagonal
    size = _multiply_rows(rest, direction)
    for _ in range(_INNER_STEPS):
        bent = (curvature * design.score(spread * direction)) @ design.columns * spread + direction
        along = _divide(size, _multiply_rows(direction, bent))
        step += along * direction
        rest -= along * bent
        if (_find_lengths(rest) <= limits).all():
            break
        conditioned = rest / diagonal
        before, size = size, _multiply_rows(rest, conditioned)
        direction = conditioned + _divide(size, before) * direction
    return step


def _choose_shares(
    place: Floats, step: Floats, scores: Floats, change: Floats, outcomes: Floats, weights: Floats
) -> Floats:
    """Return the share of its step that each fit takes: [fits, 1].

    Halved until it helps: a whole step may jump too far where the curve is flat.
    """
    objective = _compute_objective(place, scores, outcomes, weights)
    most = objective + 1e-12 * np.abs(objective)
    share = np.ones_like(objective)
    for _ in range(30):
        moved = place + share * step, scores + share * change
        is_worse = _compute_objective(*moved, outcomes, weights) > most
        if not is_worse.any():
            break
        share = np.where(is_worse, share / 2, share)
    return share


def _compute_objective(place: Floats, scores: Floats, outcomes: Floats, weights: Floats) -> Floats:
    losses = np.logaddexp(0.0, scores) - outcomes * scores
    return _multiply_rows(weights, losses) + 0.5 * _multiply_rows(place, place)


def _multiply_rows(left: Floats, right: Floats) -> Floats:
    """Return the product of each row with the same row of the other matrix: [rows, 1]."""
    products: Floats = (left * right).sum(axis=1, keepdims=True)
    return products


def _find_lengths(rows: Floats) -> Floats:
    return np.sqrt(_multiply_rows(rows, rows))


def _divide(numerators: Floats, denominators: Floats) -> Floats:
    """Return the quotients; 0 for 0 / 0, of a fit that is solved while others are not."""
    return numerators / np.maximum(denominators, np.finfo(np.float64).tiny)


def compute_sigmoid(scores: Floats) -> Floats:
    """Return the probabilities of logits, without overflow."""
    small = np.exp(-np.abs(scores))
    return np.where(scores >= 0, 1.0, small) / (1.0 + small)
