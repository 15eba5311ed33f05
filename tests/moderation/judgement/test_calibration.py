"""Reliability diagrams, ECE and Brier score."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from moderation.judgement.calibration import fit_platt, measure_reliability


def test_bins_have_equal_mass_and_counts() -> None:
    probabilities = [i / 1000 for i in range(1000)]
    result = measure_reliability(probabilities, [i % 2 == 0 for i in range(1000)])

    assert [each.count for each in result.bins] == [100] * 10
    assert [each.observed.value for each in result.bins] == [0.5] * 10
    assert result.bins[0].mean == pytest.approx(0.0495)
    # Distances of ten bin means from one half.
    assert result.ece == pytest.approx(sum(abs(0.0495 + i / 10 - 0.5) for i in range(10)) / 10)
    assert result.n == 1000


def test_brier_score_is_the_mean_squared_error() -> None:
    result = measure_reliability([0.1, 0.8, 0.6], [False, True, False])

    assert result.brier == pytest.approx((0.01 + 0.04 + 0.36) / 3)


def test_calibrated_probabilities_have_a_small_error_and_others_a_large_one() -> None:
    generator = np.random.default_rng(3)
    probabilities = generator.beta(1, 4, 20_000)
    outcomes = [bool(x) for x in generator.random(20_000) < probabilities]

    honest = measure_reliability([float(p) for p in probabilities], outcomes)
    boastful = measure_reliability([float(p) ** 0.3 for p in probabilities], outcomes)

    assert honest.ece < 0.012
    assert boastful.ece > 0.3
    held = [each.observed.low <= each.mean <= each.observed.high for each in honest.bins]
    assert sum(held) >= 8


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]), st.booleans()),
        min_size=1,
        max_size=60,
    ),
    st.randoms(),
)
def test_order_does_not_matter_and_ties_share_a_bin(
    pairs: list[tuple[float, bool]], random: object
) -> None:
    shuffled = list(pairs)
    random.shuffle(shuffled)
    result = measure_reliability(*zip(*pairs, strict=True))

    assert result == measure_reliability(*zip(*shuffled, strict=True))
    assert result.n == len(pairs)
    assert 0 <= result.ece <= 1
    means = [each.mean for each in result.bins]
    assert means == sorted(set(means))


@pytest.mark.parametrize(
    ("probabilities", "outcomes", "bins"),
    [([], [], 10), ([0.5], [], 10), ([1.5], [True], 10), ([0.5], [True], 0)],
)
def test_impossible_input_raises(
    probabilities: list[float], outcomes: list[bool], bins: int
) -> None:
    with pytest.raises(ValueError, match=r"outcomes|between|bins"):
        measure_reliability(probabilities, outcomes, bins=bins)


def test_platt_scaling_agrees_with_a_general_optimiser() -> None:
    generator = np.random.default_rng(5)
    scores, weights = generator.normal(size=300) * 3, generator.uniform(0.5, 2, 300)
    outcomes = (generator.random(300) < 1 / (1 + np.exp(-(0.5 * scores - 1)))).astype(float)
    positives, negatives = weights @ outcomes, weights @ (1 - outcomes)
    targets = np.where(outcomes > 0, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def compute_loss(values: np.ndarray) -> float:
        logits = values[0] * scores + values[1]
        return float(weights @ (np.logaddexp(0, logits) - targets * logits))

    curve = fit_platt(scores, outcomes, weights)
    best = optimize.minimize(compute_loss, [1.0, 0.0], tol=1e-12).x
    assert (curve.slope, curve.offset) == pytest.approx(tuple(best), abs=1e-4)
    assert curve.apply(np.array([2.0]))[0] == pytest.approx(
        1 / (1 + np.exp(-(best[0] * 2 + best[1]))), abs=1e-4
    )


def test_platt_scaling_of_separated_scores_stays_finite() -> None:
    curve = fit_platt(np.array([-1.0] * 9 + [1.0]), np.array([0.0] * 9 + [1.0]), np.ones(10))

    assert curve.apply(np.array([1.0]))[0] == pytest.approx(2 / 3, abs=1e-6)
    assert curve.apply(np.array([-1.0]))[0] == pytest.approx(1 / 11, abs=1e-6)


@pytest.mark.parametrize("scores", [[0.0] * 8, [3.0, 2, 1, 0, 3, 2, 1, 0], list(range(8))[::-1]])
def test_scores_that_say_nothing_or_the_opposite_get_the_share_of_positives(
    scores: list[float],
) -> None:
    outcomes = np.array([0.0, 0, 0, 0, 0, 0, 1, 1])
    curve = fit_platt(np.array(scores, float), outcomes, np.ones(8))

    assert curve.apply(np.array([5.0]))[0] == pytest.approx((2 * 3 / 4 + 6 / 8) / 8, abs=1e-6)
