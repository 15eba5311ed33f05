"""The regression of a head, compared with a general optimiser."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from moderation.judgement.logistic import (
    BIAS_VARIANCE,
    FACTOR_VARIANCE,
    TOLERANCE,
    Design,
    compute_sigmoid,
    fit,
)


def make_task(seed: int, n: int = 60, dim: int = 5) -> tuple[Design, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    vectors, zero_shot = generator.normal(size=(n, dim)), generator.normal(size=n)
    outcomes = (generator.random(n) < compute_sigmoid(zero_shot + vectors[:, 0])).astype(float)
    return Design.of(zero_shot, vectors), outcomes, generator.uniform(0.2, 2, n)


def find_scores(
    design: Design, strength: float, outcomes: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    return design.score(fit(design, strength, outcomes, weights[None]))[0]


def solve_densely(
    design: Design, strength: float, outcomes: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return the coefficients by Newton's method with whole matrices, from the textbook.

    Source: Bishop 2006, Pattern Recognition and Machine Learning, 4.3.3 and 4.5.1.
    """
    dim = design.columns.shape[1] - 2
    mean = np.r_[0.0, 1.0, np.zeros(dim)]
    precision = 1 / np.r_[BIAS_VARIANCE, FACTOR_VARIANCE, np.full(dim, strength)]

    def compute_loss(values: np.ndarray) -> float:
        logits = design.columns @ values
        losses = np.logaddexp(0, logits) - outcomes * logits
        return float(weights @ losses + precision @ (values - mean) ** 2 / 2)

    values = mean
    for _ in range(100):
        p = compute_sigmoid(design.columns @ values)
        gradient = design.columns.T @ (weights * (p - outcomes)) + precision * (values - mean)
        curvature = weights * p * (1 - p)
        hessian = (design.columns.T * curvature) @ design.columns + np.diag(precision)
        step = np.linalg.solve(hessian, gradient)
        while compute_loss(values - step) > compute_loss(values) and np.abs(step).max() > 1e-9:
            step = step / 2
        values = values - step
        if np.abs(step).max() < 1e-12:
            break
    return values


@pytest.mark.parametrize("variance", [0.01, 1.0, 100.0])
def test_scores_are_the_most_probable_ones(variance: float) -> None:
    design, outcomes, weights = make_task(1)
    vectors = design.columns[:, 2:]

    def compute_loss(values: np.ndarray) -> float:
        bias, factor, direction = values[0], values[1], values[2:]
        logits = bias + factor * design.zero_shot + vectors @ direction
        prior = (
            bias**2 / BIAS_VARIANCE
            + (factor - 1) ** 2 / FACTOR_VARIANCE
            + direction @ direction / variance
        )
        return float(weights @ (np.logaddexp(0, logits) - outcomes * logits) + prior / 2)

    best = optimize.minimize(compute_loss, np.r_[0, 1, np.zeros(5)], tol=1e-10)
    logits = best.x[0] + best.x[1] * design.zero_shot + vectors @ best.x[2:]
    assert find_scores(design, variance, outcomes, weights) == pytest.approx(logits, abs=1e-3)


@pytest.mark.parametrize("variance", [0.01, 1.0, 100.0])
@pytest.mark.parametrize(("n", "dim"), [(120, 20), (40, 90)])
@pytest.mark.parametrize("tolerance", [1e-3, TOLERANCE])
def test_errors_of_several_fits_are_within_the_tolerance(
    variance: float, n: int, dim: int, tolerance: float
) -> None:
    design, outcomes, weights = make_task(4, n, dim)
    folds = np.arange(n) % 3
    seen = np.where(folds == np.arange(3)[:, None], 0.0, weights)
    fits = fit(design, variance, outcomes, seen, tolerance=tolerance)

    for fold, coefficients in enumerate(fits):
        # The reference gets only the images that this fit sees.
        rows = folds != fold
        part = Design(design.columns[rows], design.squares[rows])
        exact = solve_densely(part, variance, outcomes[rows], weights[rows])
        errors = design.columns @ (coefficients - exact)
        assert np.abs(errors).max() < max(tolerance, 1e-7)  # the reference's own error


def test_result_does_not_depend_on_the_start() -> None:
    design, outcomes, weights = make_task(5, 120, 20)
    cold = fit(design, 10.0, outcomes, weights[None])
    weak = fit(design, 0.1, outcomes, weights[None])
    warm = fit(design, 10.0, outcomes, weights[None], start=weak)

    assert np.abs(design.score(weak) - design.score(cold)).max() > 0.1
    assert design.score(warm) == pytest.approx(design.score(cold), abs=1e-7)


def test_strong_prior_keeps_the_order_of_the_zero_shot_scores() -> None:
    design, outcomes, weights = make_task(2)
    scores = find_scores(design, 1e-9, outcomes, weights)

    assert np.array_equal(np.argsort(scores), np.argsort(design.zero_shot))


def test_separable_images_give_finite_scores() -> None:
    design = Design.of(np.zeros(40), np.repeat([[-1.0], [1.0]], 20, axis=0))
    scores = find_scores(design, 1e4, np.repeat([0.0, 1.0], 20), np.ones(40))

    assert np.isfinite(scores).all()
    assert (scores[:20] < -5).all()
    assert (scores[20:] > 5).all()


def test_zero_shot_scores_that_are_certain_and_wrong_are_overcome() -> None:
    """Far from the solution, whole steps are too long."""
    outcomes = np.repeat([0.0, 1.0], 50)
    design = Design.of(np.where(outcomes > 0, -500.0, 500.0), np.zeros((100, 1)))
    exact = solve_densely(design, 1.0, outcomes, np.ones(100))
    scores = find_scores(design, 1.0, outcomes, np.ones(100))

    assert scores == pytest.approx(design.columns @ exact, abs=1e-6)


@given(st.integers(0, 1000), st.sampled_from([0.1, 10.0]), st.integers(1, 20))
@settings(max_examples=40)
def test_changed_verdicts_move_scores_by_no_more_than_the_stated_bound(
    seed: int, variance: float, changed: int
) -> None:
    design, outcomes, weights = make_task(seed)
    others = outcomes.copy()
    others[:changed] = 1 - others[:changed]

    before, after = (find_scores(design, variance, each, weights) for each in (outcomes, others))

    bound = weights[:changed].sum() * design.find_variances(variance).max()
    assert np.abs(after - before).max() <= bound + 1e-6


def test_lower_weight_lets_wrong_verdicts_move_scores_less() -> None:
    design, outcomes, _ = make_task(3, n=200)
    wrong = outcomes.copy()
    wrong[:80] = 1 - wrong[:80]
    honest = find_scores(design, 1.0, outcomes, np.ones(200))

    moves = []
    for weight in (1.0, 0.25, 0.05):
        weights = np.r_[np.full(80, weight), np.ones(120)]
        scores = find_scores(design, 1.0, wrong, weights)
        moves.append(float(np.abs(scores - honest).mean()))

    assert moves[0] > 1.5 * moves[1] > 1.5 * moves[2]


def test_sigmoid_does_not_overflow() -> None:
    assert compute_sigmoid(np.array([-1e6, 0.0, 1e6])).tolist() == [0.0, 0.5, 1.0]
