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
    Design,
    compute_sigmoid,
    fit_dual,
)


def make_task(seed: int, n: int = 60, dim: int = 5) -> tuple[Design, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    vectors, zero_shot = generator.normal(size=(n, dim)), generator.normal(size=n)
    outcomes = (generator.random(n) < compute_sigmoid(zero_shot + vectors[:, 0])).astype(float)
    return Design.of(zero_shot, vectors), outcomes, generator.uniform(0.2, 2, n)


@pytest.mark.parametrize("variance", [0.01, 1.0, 100.0])
def test_scores_are_the_most_probable_ones(variance: float) -> None:
    design, outcomes, weights = make_task(1)
    kernel = design.build_kernel(variance)
    scores = design.zero_shot + kernel @ fit_dual(kernel, design.zero_shot, outcomes, weights)

    def compute_loss(values: np.ndarray) -> float:
        bias, factor, direction = values[0], values[1], values[2:]
        logits = bias + factor * design.zero_shot + design.vectors @ direction
        prior = (
            bias**2 / BIAS_VARIANCE
            + (factor - 1) ** 2 / FACTOR_VARIANCE
            + direction @ direction / variance
        )
        return float(weights @ (np.logaddexp(0, logits) - outcomes * logits) + prior / 2)

    best = optimize.minimize(compute_loss, np.r_[0, 1, np.zeros(5)], tol=1e-10)
    logits = best.x[0] + best.x[1] * design.zero_shot + design.vectors @ best.x[2:]
    assert scores == pytest.approx(logits, abs=1e-3)


def test_strong_prior_keeps_the_order_of_the_zero_shot_scores() -> None:
    design, outcomes, weights = make_task(2)
    kernel = design.build_kernel(1e-9)
    scores = design.zero_shot + kernel @ fit_dual(kernel, design.zero_shot, outcomes, weights)

    assert np.array_equal(np.argsort(scores), np.argsort(design.zero_shot))


def test_separable_images_give_finite_scores() -> None:
    design = Design.of(np.zeros(40), np.repeat([[-1.0], [1.0]], 20, axis=0))
    kernel = design.build_kernel(1e4)
    alpha = fit_dual(kernel, design.zero_shot, np.repeat([0.0, 1.0], 20), np.ones(40))
    scores = kernel @ alpha

    assert np.isfinite(scores).all()
    assert (scores[:20] < -5).all()
    assert (scores[20:] > 5).all()


@given(st.integers(0, 1000), st.sampled_from([0.1, 10.0]), st.integers(1, 20))
@settings(max_examples=40)
def test_changed_verdicts_move_scores_by_no_more_than_the_stated_bound(
    seed: int, variance: float, changed: int
) -> None:
    design, outcomes, weights = make_task(seed)
    kernel = design.build_kernel(variance)
    others = outcomes.copy()
    others[:changed] = 1 - others[:changed]

    before, after = (
        kernel @ fit_dual(kernel, design.zero_shot, each, weights) for each in (outcomes, others)
    )

    bound = weights[:changed].sum() * kernel.diagonal().max()
    assert np.abs(after - before).max() <= bound + 1e-6


def test_lower_weight_lets_wrong_verdicts_move_scores_less() -> None:
    design, outcomes, _ = make_task(3, n=200)
    kernel = design.build_kernel(1.0)
    wrong = outcomes.copy()
    wrong[:80] = 1 - wrong[:80]
    honest = kernel @ fit_dual(kernel, design.zero_shot, outcomes, np.ones(200))

    moves = []
    for weight in (1.0, 0.25, 0.05):
        weights = np.r_[np.full(80, weight), np.ones(120)]
        scores = kernel @ fit_dual(kernel, design.zero_shot, wrong, weights)
        moves.append(float(np.abs(scores - honest).mean()))

    assert moves[0] > 1.5 * moves[1] > 1.5 * moves[2]


def test_sigmoid_does_not_overflow() -> None:
    assert compute_sigmoid(np.array([-1e6, 0.0, 1e6])).tolist() == [0.0, 0.5, 1.0]
