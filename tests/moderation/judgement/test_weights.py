"""Caps on the weight of one group and one person."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.judgement.weights import cap_weights, find_largest_share

ROWS = st.lists(
    st.tuples(st.floats(0.1, 100), st.sampled_from("abcdef"), st.sampled_from("uvwxyz")),
    min_size=1,
    max_size=60,
)


@given(ROWS, st.sampled_from([0.25, 0.4, 0.5, 1.0]))
def test_no_group_and_no_person_exceeds_its_cap(
    rows: list[tuple[float, str, str]], share: float
) -> None:
    weights, groups, persons = zip(*rows, strict=True)
    capped = cap_weights(weights, groups, persons, group_limit=4, person_share=share)

    assert (capped <= np.array(weights) * (1 + 1e-12)).all()
    assert (capped > 0).all()
    for group in set(groups):
        assert capped[[g == group for g in groups]].sum() <= 4 + 1e-9
    if len(set(persons)) * share > 1:
        assert find_largest_share(capped, persons) <= share + 1e-9


@given(ROWS)
def test_weights_below_the_caps_do_not_change(rows: list[tuple[float, str, str]]) -> None:
    weights, groups, _ = zip(*rows, strict=True)
    persons = range(len(rows))

    result = cap_weights(weights, groups, persons, group_limit=1e9, person_share=1.0)

    assert np.array_equal(result, weights)


def test_busy_person_counts_as_much_as_all_others_together() -> None:
    persons = ["busy"] * 90 + ["one"] * 6 + ["two"] * 4

    result = cap_weights([1.0] * 100, range(100), persons)

    assert result[:90].sum() == pytest.approx(10)
    assert np.array_equal(result[90:], [1.0] * 10)


def test_share_of_two_persons_is_not_capped() -> None:
    persons = ["one"] * 90 + ["two"] * 10

    assert np.array_equal(cap_weights([1.0] * 100, range(100), persons), [1.0] * 100)
    assert find_largest_share(np.ones(100), persons) == 0.9


def test_large_group_counts_as_few_images() -> None:
    result = cap_weights([1.0] * 12, ["same"] * 10 + ["a", "b"], range(12), group_limit=4)

    assert result[:10].sum() == pytest.approx(4)
    assert np.array_equal(result[10:], [1.0, 1.0])


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_weight_raises(weight: float) -> None:
    with pytest.raises(ValueError, match="positive number"):
        cap_weights([1.0, weight], "ab", "uv")


def test_impossible_limits_raise() -> None:
    with pytest.raises(ValueError, match="impossible"):
        cap_weights([1.0], "a", "u", person_share=1.5)
