"""Statistics of the record: word stats and daily stats, counted exactly once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from generation.models import GenerationRequest, Source
from moderation import tasks
from moderation.models import (
    ChainHead,
    DailyStats,
    Decision,
    Policy,
    Review,
    Verdict,
    WordStats,
    WordStatsProgress,
)
from moderation.policy_engine import Outcome, Settlement
from moderation.services import classification, decisions, statistics
from tests.moderation.page_helpers import ClientOf, MakeReview, get_review_url
from tests.moderation.second_opinion_helpers import judge

MakeRequest = Callable[..., GenerationRequest]


@pytest.fixture(autouse=True)
def _start_progress(db: None) -> None:
    WordStatsProgress.objects.get_or_create(pk=1)


@pytest.fixture
def make_reviews(make_review: MakeReview, make_request: MakeRequest) -> Callable[..., list[Review]]:
    """Return a factory of the reviews of a request with a given prompt."""
    seeds = iter(range(100))

    def make(prompt: str, images: int = 1) -> list[Review]:
        order = make_request(prompt=prompt, image_num=images, seed=next(seeds))
        return [
            make_review(source=Source.TXT2IMG, request=order, position=number)
            for number in range(images)
        ]

    return make


def count_record() -> None:
    statistics.count_record(go_on=lambda: True)


def get_word_counts(word: str) -> tuple[int, int]:
    row = WordStats.objects.filter(word=word).first()
    return (row.decided, row.rejected) if row else (0, 0)


def test_words_of_decided_images_are_counted(
    make_reviews: Callable[..., list[Review]], moderator: User
) -> None:
    first, second, third = make_reviews("A red dagger, 4k", 3)
    (other,) = make_reviews("a RED boat")
    (untouched,) = make_reviews("a red kite")
    judge(first, moderator, "reject")
    judge(second, moderator, "approve")
    judge(third, moderator, "escalate")
    judge(other, moderator, "approve")

    count_record()

    assert (
        get_word_counts("red"),
        get_word_counts("dagger"),
        get_word_counts("boat"),
        get_word_counts("kite"),
    ) == (
        (3, 1),
        (2, 1),
        (1, 0),
        (0, 0),
    )
    assert get_word_counts("4k") == (0, 0)
    progress = WordStatsProgress.objects.get()
    assert (progress.sequence, progress.decided, progress.rejected) == (4, 3, 1)
    assert untouched.status == "pending"


def test_decisions_of_the_policy_are_counted(make_reviews: Callable[..., list[Review]]) -> None:
    (review,) = make_reviews("a dagger")
    Review.objects.filter(pk=review.pk).update(status="classifying")
    review.refresh_from_db()
    settlement = Settlement(
        outcome=Outcome.REJECT, reason="A test.", categories=("violence.weapons",)
    )
    classification.apply_settlement(
        review=review, policy=Policy.objects.active(), settlement=settlement
    )

    count_record()

    assert get_word_counts("dagger") == (1, 1)
    assert DailyStats.objects.get().by_policy == 1


@pytest.mark.parametrize("step", [1, 2, 200])
def test_reversals_are_subtracted_for_any_batch_size(
    make_reviews: Callable[..., list[Review]],
    moderator: User,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
) -> None:
    monkeypatch.setattr(statistics, "BATCH", step)
    (review,) = make_reviews("a dagger")
    rejection = judge(review, moderator, "reject")
    decisions.reverse(decision=rejection, user=moderator)
    judge(review, moderator, "approve")

    count_record()

    assert get_word_counts("dagger") == (1, 0)
    assert sum(DailyStats.objects.values_list("by_people", flat=True)) == 1


def test_second_opinions_are_not_counted_as_decisions(
    make_reviews: Callable[..., list[Review]],
    moderator: User,
    other_moderator: User,
    senior: User,
    settings: Any,
) -> None:
    settings.SECOND_OPINION_PERCENT = 100
    (agreed,) = make_reviews("a dagger")
    (open_one,) = make_reviews("a sabre")
    (settled,) = make_reviews("a rapier")
    for review in (agreed, open_one, settled):
        judge(review, moderator, "approve")
    judge(agreed, other_moderator, "approve")
    for review in (open_one, settled):
        judge(review, other_moderator, "reject")
    judge(settled, senior, "reject")

    count_record()

    assert (get_word_counts("dagger"), get_word_counts("sabre"), get_word_counts("rapier")) == (
        (1, 0),
        (0, 0),
        (1, 1),
    )
    figures = DailyStats.objects.get()
    assert (figures.agreed, figures.disagreed, figures.by_people) == (1, 2, 4)


def test_prompts_of_imports_are_counted(make_review: MakeReview, moderator: User) -> None:
    review = make_review(
        source=Source.SCENARIO, external_id="a1", metadata={"scenario": {"prompt": "a halberd"}}
    )
    judge(review, moderator, "reject")
    judge(
        make_review(source=Source.SCENARIO, external_id="a2", metadata={"scenario": ["odd"]}),
        moderator,
        "reject",
    )

    count_record()

    assert get_word_counts("halberd") == (1, 1)
    assert WordStatsProgress.objects.get().decided == 1


def test_existing_decisions_are_counted_from_the_beginning(
    make_reviews: Callable[..., list[Review]], moderator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "BATCH", 3)
    for review in make_reviews("old wine", 7):
        judge(review, moderator, "reject")
    WordStatsProgress.objects.all().delete()

    count_record()

    assert get_word_counts("wine") == (7, 7)
    assert WordStatsProgress.objects.get().sequence == 7


def test_crash_during_a_batch_is_rolled_back_and_counted_later(
    make_reviews: Callable[..., list[Review]], moderator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(make_reviews("a dagger")[0], moderator, "reject")

    class Killed(BaseException):
        pass

    def die(changes: Any) -> None:
        real(changes)
        raise Killed

    real = statistics._store_changes
    with monkeypatch.context() as broken:
        broken.setattr(statistics, "_store_changes", die)
        with pytest.raises(Killed), transaction.atomic():
            statistics.count_batch()
    assert get_word_counts("dagger") == (0, 0)
    assert not DailyStats.objects.exists()
    assert WordStatsProgress.objects.get().sequence == 0

    count_record()
    count_record()

    assert get_word_counts("dagger") == (1, 1)
    assert DailyStats.objects.get().by_people == 1


@pytest.mark.django_db(transaction=True)
def test_concurrent_workers_count_every_decision_once(
    make_reviews: Callable[..., list[Review]], moderator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "BATCH", 2)
    for review in make_reviews("a dagger", 8):
        judge(review, moderator, "reject")
    for review in make_reviews("a sabre", 8):
        judge(review, moderator, "approve")
    faults: list[Exception] = []
    gate = threading.Barrier(3)

    def work() -> None:
        try:
            gate.wait(10)
            count_record()
        except Exception as error:
            faults.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert faults == []
    assert (get_word_counts("dagger"), get_word_counts("sabre")) == ((8, 8), (8, 0))
    assert DailyStats.objects.get().by_people == 16
    assert WordStatsProgress.objects.get().sequence == 16


def test_counting_is_due_after_enough_decisions_or_time(
    make_reviews: Callable[..., list[Review]], moderator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not statistics.find_due().exists()
    decision = judge(make_reviews("a dagger")[0], moderator, "reject")
    assert not statistics.find_due().exists()
    with monkeypatch.context() as clock:
        clock.setattr(timezone, "now", lambda: decision.created_at + statistics.WAIT_MAX)
        assert statistics.find_due().exists()
    monkeypatch.setattr(statistics, "BATCH_MIN", 1)
    assert statistics.find_due().exists()

    tasks.count_decisions()

    assert not statistics.find_due().exists()
    assert get_word_counts("dagger") == (1, 1)


def test_queries_of_a_batch_do_not_grow_with_its_size(
    make_reviews: Callable[..., list[Review]], moderator: User
) -> None:
    counts = []
    for images in (1, 8):
        for number, review in enumerate(
            make_reviews(f"prompt {'abcdefgh'[images - 1] * 4}", images)
        ):
            judge(review, moderator, "reject" if number % 2 else "approve")
        with CaptureQueriesContext(
            connection,
        ) as queries:
            statistics.count_batch()
        counts.append(len(queries))

    assert counts[1] <= counts[0] + 1


def test_review_page_marks_often_rejected_words(
    client_of: ClientOf, make_reviews: Callable[..., list[Review]], moderator: User
) -> None:
    for review in make_reviews("a dagger at night", 4):
        judge(review, moderator, "reject")
    for review in make_reviews("a boat at night", 8):
        judge(review, moderator, "approve")
    (review,) = make_reviews("a dagger in a boat")
    count_record()

    text = client_of(moderator).get(get_review_url(review)).content.decode()

    assert '<mark tabindex="0" aria-describedby="word-2">dagger</mark>' in text
    assert ">4 of 4 decided images with this word were rejected</span>" in text
    assert ">boat</mark>" not in text


def test_daily_stats_are_by_utc_day_and_category(
    make_review: MakeReview, moderator: User, senior: User
) -> None:
    review = make_review()
    Review.objects.filter(pk=review.pk).update(
        top_category="alcohol.use", top_category_l1="alcohol"
    )
    review.refresh_from_db()
    decision = judge(review, moderator, "approve")
    decisions.reverse(decision=decision, user=senior, note="No")

    count_record()

    figures = DailyStats.objects.get()
    assert (figures.day, figures.l1) == (decision.created_at.date(), "alcohol")
    assert (figures.by_people, figures.people_reversed) == (1, 1)
    assert ChainHead.objects.get().sequence == Decision.objects.count() == 2
    assert DailyStats.sum_since(decision.created_at.date() + timedelta(days=1)) == {}
    assert Verdict.REVERSE in Decision.objects.values_list("verdict", flat=True)
