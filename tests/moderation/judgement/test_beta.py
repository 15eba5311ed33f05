"""The beta and binomial distributions, compared with SciPy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from moderation.judgement.beta import (
    compute_beta_cdf,
    compute_binomial_cdf,
    find_beta_quantile,
)

PARAMETERS = [
    (0.5, 0.5),
    (0.5, 400.5),
    (1.0, 1.0),
    (3.5, 397.5),
    (45.5, 5.5),
    (250.0, 250.0),
    (1000.5, 0.5),
    (30_000.5, 970_000.5),
]


@pytest.mark.parametrize(("a", "b"), PARAMETERS)
@pytest.mark.parametrize("probability", [0.001, 0.025, 0.05, 0.5, 0.95, 0.975, 0.999])
def test_quantile_agrees_with_scipy(a: float, b: float, probability: float) -> None:
    expected = stats.beta.ppf(probability, a, b)

    assert find_beta_quantile(a, b, probability) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(("a", "b"), PARAMETERS)
def test_distribution_agrees_with_scipy(a: float, b: float) -> None:
    for x in (1e-9, 0.001, 0.03, 0.2, 0.5, 0.9, 0.9999):
        expected = stats.beta.cdf(x, a, b)
        assert compute_beta_cdf(a, b, x) == pytest.approx(expected, rel=1e-7, abs=1e-12)


@given(st.integers(1, 500), st.data(), st.floats(0.001, 0.999))
def test_binomial_distribution_agrees_with_scipy(n: int, data: st.DataObject, p: float) -> None:
    k = data.draw(st.integers(-1, n))

    assert compute_binomial_cdf(k, n, p) == pytest.approx(
        stats.binom.cdf(k, n, p), rel=1e-7, abs=1e-12
    )


@given(st.floats(0.5, 2000), st.floats(0.5, 2000), st.floats(0.001, 0.999))
def test_quantile_inverts_the_distribution(a: float, b: float, probability: float) -> None:
    x = find_beta_quantile(a, b, probability)

    assert compute_beta_cdf(a, b, x) == pytest.approx(probability, abs=1e-6) or x in (0.0, 1.0)


def test_ends_are_exact() -> None:
    assert find_beta_quantile(2, 3, 0) == 0
    assert find_beta_quantile(2, 3, 1) == 1
    assert compute_beta_cdf(2, 3, -1) == 0
    assert compute_beta_cdf(2, 3, 2) == 1


@pytest.mark.parametrize(("a", "b"), [(0, 1), (1, -1), (float("inf"), 1), (float("nan"), 1)])
def test_impossible_parameters_raise(a: float, b: float) -> None:
    with pytest.raises(ValueError, match="positive parameters"):
        compute_beta_cdf(a, b, 0.5)


def test_impossible_probability_raises() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        find_beta_quantile(1, 1, 1.5)
