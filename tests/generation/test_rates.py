"""The limit of images per minute: one token bucket shared by all workers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from generation.models import ProviderState
from generation.services import rates

SLUG = "novita"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    class Clock:
        now = timezone.now()

        def forward(self, seconds: float) -> None:
            self.now += timedelta(seconds=seconds)

    made = Clock()
    monkeypatch.setattr(rates.timezone, "now", lambda: made.now)
    return made


def take(images: int = 1, per_minute: int = 20) -> datetime | None:
    return rates.take_tokens(SLUG, images, per_minute=per_minute)


@pytest.mark.django_db
def test_bucket_holds_one_minute_of_images_and_refills_continuously(clock: Any) -> None:
    assert [take(8), take(8), take(4)] == [None] * 3
    assert take() == clock.now + timedelta(seconds=3) + rates.MARGIN
    clock.forward(2.9)
    assert take() is not None
    clock.forward(0.2)
    assert take() is None
    clock.forward(3600)
    assert [take(8), take(8), take(4)] == [None] * 3
    assert take() is not None, "an hour of silence brings no more than a minute's images"


@pytest.mark.django_db
def test_request_larger_than_the_bucket_passes_a_full_bucket_and_leaves_a_debt(
    clock: Any,
) -> None:
    assert take(8, per_minute=5) is None
    assert ProviderState.objects.get().tokens == Decimal(-3)
    assert take(1, per_minute=5) == clock.now + timedelta(seconds=48) + rates.MARGIN
    clock.forward(90)
    until = take(8, per_minute=5)
    assert until is not None, "not full yet"
    clock.now = until
    assert take(8, per_minute=5) is None


@pytest.mark.django_db
def test_unlimited_provider_takes_no_tokens_and_writes_no_row() -> None:
    assert all(take(8, per_minute=0) is None for _ in range(50))
    assert not ProviderState.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("per_minute", [0, 20])
def test_held_provider_gives_no_tokens_for_at_most_ten_minutes(clock: Any, per_minute: int) -> None:
    rates.hold_provider(SLUG, timedelta(seconds=30), per_minute=per_minute)
    rates.hold_provider(SLUG, timedelta(seconds=5), per_minute=per_minute)
    until = take(per_minute=per_minute)
    assert until is not None
    assert until >= clock.now + timedelta(seconds=30)

    rates.hold_provider(SLUG, timedelta(hours=5), per_minute=per_minute)
    until = take(per_minute=per_minute)
    assert until is not None
    assert until <= clock.now + rates.HELD_LONGEST + timedelta(seconds=4)
    clock.forward(604)
    assert take(per_minute=per_minute) is None


@pytest.mark.django_db
def test_hold_empties_the_bucket(clock: Any) -> None:
    rates.hold_provider(SLUG, timedelta(), per_minute=20)
    assert take() is not None
    clock.forward(3.1)
    assert take() is None


@pytest.mark.django_db
def test_clock_set_back_does_not_block_the_bucket(clock: Any) -> None:
    assert take() is None
    clock.forward(-7200)
    assert take() is None


@pytest.mark.django_db(transaction=True)
def test_parallel_workers_take_no_more_tokens_than_available() -> None:
    def worker(number: int) -> int:
        try:
            return sum(take(2, per_minute=30) is None for _ in range(6))
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        taken = sum(threads.map(worker, range(8)))

    # 15 times two tokens, plus one time for every four seconds that the threads took.
    assert 15 <= taken <= 17
    state = ProviderState.objects.get()
    assert state.tokens is not None
    assert 0 <= state.tokens < 4
