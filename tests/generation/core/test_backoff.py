from __future__ import annotations

from datetime import timedelta

import pytest

from generation.core.backoff import Backoff, add_jitter, delay_by_age


def test_delays_double_up_to_the_cap() -> None:
    policy = Backoff(base=5, cap=300)

    delays = [policy.delay(retry).total_seconds() for retry in range(9)]

    assert delays == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_factor_sets_the_growth() -> None:
    policy = Backoff(base=2, cap=100, factor=3)

    assert [policy.delay(retry).total_seconds() for retry in range(5)] == [2, 6, 18, 54, 100]


def test_negative_retry_waits_the_base_and_huge_retry_the_cap() -> None:
    policy = Backoff(base=5, cap=300)

    assert policy.delay(-1) == timedelta(seconds=5)
    assert policy.delay(1_000_000) == timedelta(seconds=300)


def test_jitter_only_lengthens_and_differs_every_time() -> None:
    policy = Backoff(base=2, cap=600, jitter=0.25)

    for retry in range(12):
        plain = min(2 * 2**retry, 600)
        seconds = {policy.delay(retry).total_seconds() for _ in range(20)}
        assert len(seconds) == 20
        assert all(plain <= each <= 1.25 * plain for each in seconds)


def test_delay_without_jitter_is_unchanged() -> None:
    assert add_jitter(timedelta(seconds=7), 0) == timedelta(seconds=7)
    assert timedelta(seconds=7) <= add_jitter(timedelta(seconds=7), 0.1) <= timedelta(seconds=7.7)


@pytest.mark.parametrize(
    ("age", "delay"), [(-5, 1), (0, 1), (9, 1), (50, 5), (100, 10), (5000, 10)]
)
def test_delay_by_age_stays_within_its_limits(age: float, delay: float) -> None:
    found = delay_by_age(
        timedelta(seconds=age),
        share=0.1,
        shortest=timedelta(seconds=1),
        longest=timedelta(seconds=10),
    )

    assert found == timedelta(seconds=delay)
