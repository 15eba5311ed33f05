"""Shares and their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from moderation.judgement.estimates import (
    Figure,
    count_audits,
    estimate_jeffreys,
    estimate_wilson,
    find_exact_upper,
    find_wilson_lower,
    find_wilson_upper,
)

COUNTS = [(0, 100), (1, 60), (45, 50), (450, 500), (50, 50), (3, 20_000)]


@pytest.mark.parametrize(("hits", "n"), COUNTS)
def test_wilson_agrees_with_scipy(hits: int, n: int) -> None:
    figure = estimate_wilson(hits, n)
    expected = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")

    assert (figure.value, figure.n) == (hits / n, n)
    assert figure.low == pytest.approx(expected.low, abs=1e-12)
    assert figure.high == pytest.approx(expected.high, abs=1e-12)


@pytest.mark.parametrize(("hits", "n"), COUNTS)
def test_one_sided_wilson_bounds_agree_with_scipy(hits: int, n: int) -> None:
    greater = stats.binomtest(hits, n, alternative="greater").proportion_ci(0.95, method="wilson")
    less = stats.binomtest(hits, n, alternative="less").proportion_ci(0.95, method="wilson")

    assert find_wilson_lower(hits, n) == pytest.approx(greater.low, abs=1e-12)
    assert find_wilson_upper(hits, n) == pytest.approx(less.high, abs=1e-12)


@pytest.mark.parametrize(("hits", "n"), COUNTS)
def test_jeffreys_agrees_with_scipy(hits: int, n: int) -> None:
    figure = estimate_jeffreys(hits, n)
    low, high = stats.beta.ppf((0.025, 0.975), hits + 0.5, n - hits + 0.5)

    assert figure.low == (0 if hits == 0 else pytest.approx(low, rel=1e-7))
    assert figure.high == (1 if hits == n else pytest.approx(high, rel=1e-7))


@pytest.mark.parametrize(("hits", "n"), COUNTS)
def test_exact_upper_bound_agrees_with_scipy(hits: int, n: int) -> None:
    expected = stats.binomtest(hits, n, alternative="less").proportion_ci(0.95, method="exact")

    assert find_exact_upper(hits, n) == pytest.approx(expected.high, rel=1e-7)


def test_exact_upper_bound_without_hits_is_about_three_in_n() -> None:
    assert find_exact_upper(0, 1000) == pytest.approx(1 - 0.05 ** (1 / 1000), rel=1e-9)
    assert find_exact_upper(0, 1000) == pytest.approx(3 / 1000, rel=0.01)


@given(st.integers(1, 3000), st.data())
def test_more_hits_never_lower_a_bound(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n - 1))

    for bound in (find_wilson_lower, find_wilson_upper):
        assert bound(hits, n) <= bound(hits + 1, n)
    assert find_exact_upper(hits, n) < find_exact_upper(hits + 1, n)


@given(st.integers(0, 3000), st.integers(30, 3000))
def test_intervals_hold_their_value_and_lie_between_0_and_1(hits: int, n: int) -> None:
    hits = min(hits, n)

    for estimate in (estimate_wilson, estimate_jeffreys):
        figure = estimate(hits, n)
        assert 0 <= figure.low <= figure.value <= figure.high <= 1
        assert figure.low < figure.high


@pytest.mark.parametrize("estimate", [estimate_wilson, estimate_jeffreys])
def test_share_of_few_images_is_not_known(estimate: Callable[..., Figure]) -> None:
    assert estimate(3, 29) == Figure.of_unknown(29)
    assert not estimate(3, 29).is_known
    assert estimate(3, 30).is_known
    assert estimate(3, 29, minimum=29).is_known
    assert not estimate(0, 0, minimum=0).is_known


def test_bounds_without_images_say_nothing() -> None:
    assert (find_wilson_lower(0, 0), find_wilson_upper(0, 0), find_exact_upper(0, 0)) == (0, 1, 1)


@pytest.mark.parametrize(
    "function",
    [estimate_wilson, estimate_jeffreys, find_exact_upper, find_wilson_lower, find_wilson_upper],
)
@pytest.mark.parametrize(("hits", "n"), [(5, 4), (-1, 40)])
def test_impossible_counts_raise(function: Callable[..., object], hits: int, n: int) -> None:
    with pytest.raises(ValueError, match=r"hits|negative"):
        function(hits, n)


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_impossible_confidence_raises(confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        estimate_wilson(5, 40, confidence=confidence)


@pytest.mark.parametrize(
    ("limit", "misses", "audits"), [(0.05, 0, 59), (0.01, 0, 299), (0.01, 1, 473), (0.001, 0, 2995)]
)
def test_audits_needed_are_those_of_the_exact_bound(limit: float, misses: int, audits: int) -> None:
    assert count_audits(limit, misses) == audits
    if misses == 0:
        assert audits == math.ceil(math.log(0.05) / math.log(1 - limit))


@given(st.floats(0.002, 0.9), st.integers(0, 10))
def test_audits_needed_are_the_fewest_that_suffice(limit: float, misses: int) -> None:
    n = count_audits(limit, misses)

    assert find_exact_upper(misses, n) <= limit
    assert n - 1 <= misses or find_exact_upper(misses, n - 1) > limit


@pytest.mark.parametrize("limit", [0, 1, -0.1])
def test_impossible_limit_raises(limit: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        count_audits(limit)


@pytest.mark.parametrize(
    "values", [(0.5, None, None, 40), (0.5, 0.6, 0.7, 40), (None, None, None, -1)]
)
def test_impossible_figure_raises(values: tuple[float | None, float, float, int]) -> None:
    with pytest.raises(ValueError, match=r"figure|within"):
        Figure(*values)
