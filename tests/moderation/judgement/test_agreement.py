"""Cohen's kappa and McNemar's test."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from moderation.judgement.agreement import compare_versions, estimate_kappa
from moderation.judgement.estimates import Figure


@pytest.mark.parametrize(
    ("table", "kappa", "low", "high"),
    [
        # From statsmodels 0.15.0, inter_rater.cohens_kappa.
        (
            [[88, 10, 2], [14, 40, 6], [18, 10, 12]],
            0.49152542372881347,
            0.3915637020535469,
            0.59148714540408,
        ),
        ([[45, 15], [25, 15]], 0.13043478260869554, -0.06293827779258965, 0.3238078430099807),
        ([[170, 9], [4, 17]], 0.687048627828599, 0.528128855407851, 0.8459684002493469),
    ],
)
def test_kappa_agrees_with_statsmodels(
    table: list[list[int]], kappa: float, low: float, high: float
) -> None:
    figure = estimate_kappa(table)

    assert figure.n == sum(map(sum, table))
    assert figure.value == pytest.approx(kappa, abs=1e-12)
    assert figure.low == pytest.approx(low, abs=1e-12)
    assert figure.high == pytest.approx(high, abs=1e-12)


def test_full_agreement_keeps_a_doubt_that_shrinks_with_the_images() -> None:
    few, many = estimate_kappa([[20, 0], [0, 20]]), estimate_kappa([[200, 0], [0, 200]])

    assert few.value == many.value == many.high == 1
    assert 0 < few.low < many.low < 1


def test_kappa_is_not_known_from_few_images_or_one_class() -> None:
    assert estimate_kappa([[20, 1], [1, 7]]) == Figure.of_unknown(29)
    assert estimate_kappa([[100, 0], [0, 0]]) == Figure.of_unknown(100)


@given(st.lists(st.integers(0, 60), min_size=4, max_size=4))
def test_kappa_lies_within_its_interval(counts: list[int]) -> None:
    figure = estimate_kappa([counts[:2], counts[2:]])

    if figure.is_known:
        assert -1 <= figure.low <= figure.value <= figure.high <= 1


@pytest.mark.parametrize("table", [[[1]], [[1, 2], [3]], [[1, 2], [3, -1]], []])
def test_impossible_table_raises(table: list[list[int]]) -> None:
    with pytest.raises(ValueError, match=r"square|negative"):
        estimate_kappa(table)


@pytest.mark.parametrize(("b", "c"), [(3, 14), (0, 5), (10, 10), (40, 61), (600, 500)])
def test_comparison_agrees_with_the_exact_binomial_test(b: int, c: int) -> None:
    assert compare_versions(b, c).p_value == pytest.approx(
        stats.binomtest(b, b + c, 0.5).pvalue, rel=1e-7
    )
    assert compare_versions(b, c).p_value == compare_versions(c, b).p_value


def test_versions_that_never_differ_are_equal() -> None:
    assert compare_versions(0, 0).p_value == 1


def test_negative_counts_raise() -> None:
    with pytest.raises(ValueError, match="negative"):
        compare_versions(-1, 3)
