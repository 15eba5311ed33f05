"""Weekly shares and their control limits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from moderation.judgement.drift import Week, chart_weeks

TAIL = stats.norm.cdf(-3)


def test_limits_are_those_of_the_binomial_distribution() -> None:
    weeks = chart_weeks([(10, 200)] * 9 + [(8, 150)])
    centre = (9 * 10 + 0.5) / (9 * 200 + 1)
    last = weeks[-1]

    assert last.centre == pytest.approx(centre)
    low, high = round(last.low * 150), round(last.high * 150)
    assert stats.binom.cdf(low - 1, 150, centre) <= TAIL < stats.binom.cdf(low, 150, centre)
    assert stats.binom.sf(high, 150, centre) <= TAIL < stats.binom.sf(high - 1, 150, centre)


def test_unusual_week_is_a_signal_and_the_others_are_not() -> None:
    weeks = chart_weeks([(10, 200)] * 9 + [(40, 200)])

    assert [week.is_signal for week in weeks] == [False] * 9 + [True]
    assert chart_weeks([(60, 200)] * 9 + [(25, 200)])[-1].is_signal


def test_first_hit_after_weeks_without_any_is_no_signal() -> None:
    assert not any(week.is_signal for week in chart_weeks([(0, 100)] * 9 + [(1, 100)]))


def test_small_week_has_no_limits() -> None:
    weeks = chart_weeks([(10, 200), (29, 29), (0, 0)])

    assert weeks[1] == Week(29, 29)
    assert not weeks[1].is_signal
    assert weeks[2].value is None


def test_week_without_enough_others_has_no_limits() -> None:
    assert chart_weeks([(10, 200), (5, 99)])[0] == Week(10, 200)
    assert chart_weeks([]) == ()


def test_chance_alone_is_rarely_a_signal() -> None:
    generator = np.random.default_rng(4)
    counts = [(int(generator.binomial(n, 0.03)), n) for n in [60, 400] * 300]

    assert sum(week.is_signal for week in chart_weeks(counts)) <= 600 / 370 * 3


def test_impossible_week_raises() -> None:
    with pytest.raises(ValueError, match="hits"):
        chart_weeks([(5, 4)])
