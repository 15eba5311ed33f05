"""Counts over time: each row once, in its own hour and day, and gaps where nothing was counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from generation.models import ServiceCall
from generation.services.service_calls import record_calls
from moderation import tasks
from moderation.models import CountProgress, Decision, Measure, PeriodCount, Review
from moderation.services import decisions, period_counts
from moderation.services.period_counts import Stream, count_batch, estimate_quantile
from tests.moderation.page_helpers import MakeReview
from tests.moderation.second_opinion_helpers import judge

Step = PeriodCount.Step
Kind, Outcome = ServiceCall.Kind, ServiceCall.Outcome


@pytest.fixture(autouse=True)
def _add_streams(db: None) -> None:
    period_counts.add_streams()


def read(measure: Measure, step: Step = Step.HOUR) -> dict[str, int]:
    rows = PeriodCount.objects.filter(measure=measure, step=step).exclude(count=0)
    return {row.part: row.count for row in rows}


def count_all() -> None:
    for stream in Stream:
        while count_batch(stream):
            pass


def age_reviews(minutes: int) -> None:
    Review.objects.update(created_at=timezone.now() - timedelta(minutes=minutes))


def test_arrival_is_counted_once_in_its_hour_and_day(make_review: MakeReview) -> None:
    review = make_review()
    arrived_at = timezone.now() - timedelta(hours=5)
    Review.objects.update(created_at=arrived_at)

    count_all()
    count_all()

    rows = PeriodCount.objects.filter(measure=Measure.ARRIVALS)
    assert {(row.step, row.start, row.part, row.count) for row in rows} == {
        ("hour", period_counts.floor_hour(arrived_at), review.source, 1),
        ("day", period_counts.floor_day(arrived_at), review.source, 1),
    }


def test_arrival_waits_until_transactions_of_its_time_have_ended(make_review: MakeReview) -> None:
    make_review()

    count_all()
    assert read(Measure.ARRIVALS) == {}

    age_reviews(minutes=3)
    count_all()
    assert sum(read(Measure.ARRIVALS).values()) == 1


def test_decisions_are_counted_by_author_and_verdict(
    make_review: MakeReview, moderator: User
) -> None:
    for verdict in ("approve", "reject", "escalate"):
        judge(make_review(), moderator, verdict)

    count_all()

    assert read(Measure.DECISIONS) == {
        "people:approved": 1,
        "people:rejected": 1,
        "people:escalated": 1,
    }
    assert read(Measure.DECISIONS, Step.DAY) == read(Measure.DECISIONS)


def test_undone_decision_leaves_the_counts(make_review: MakeReview, moderator: User) -> None:
    decision = judge(make_review(), moderator, "approve")
    count_all()

    decisions.reverse(decision=decision, user=moderator)
    count_all()

    assert read(Measure.DECISIONS) == read(Measure.REVERSALS) == {}


def test_decision_reversed_by_another_person_counts_as_reversal(
    make_review: MakeReview, moderator: User, senior: User
) -> None:
    decision = judge(make_review(), moderator, "approve")

    decisions.reverse(decision=decision, user=senior, note="A knife.")
    count_all()

    assert read(Measure.DECISIONS) == {"people:approved": 1}
    assert read(Measure.REVERSALS) == {"people": 1}


def test_old_decisions_are_outside_of_the_past_that_is_counted(
    make_review: MakeReview, moderator: User
) -> None:
    judge(make_review(), moderator, "approve")
    later = timezone.now() + period_counts.PAST + timedelta(days=1)

    progress = CountProgress.objects.get(stream=Stream.DECISIONS)
    progress.began_at, progress.position = later, Decision.objects.get().sequence
    progress.save()
    count_all()

    assert read(Measure.DECISIONS) == {}
    assert not progress.covers(timezone.now() - timedelta(hours=1), timezone.now())


def test_calls_are_counted_with_latency_and_cost_and_then_deleted(settings: Any) -> None:
    settings.VLM = {"base_url": "https://vlm.example/v1/"}
    for milliseconds in (40, 300, 300):
        record_calls(
            "vlm", Kind.CLASSIFY, Outcome.DONE, milliseconds=milliseconds, cost=Decimal("0.002")
        )
    record_calls("vlm", Kind.CLASSIFY, Outcome.RETRIED)
    record_calls("novita", Kind.POLL, Outcome.DONE, count=12)

    count_all()
    count_all()

    assert read(Measure.CALLS) == {
        "vlm:classify:done": 3,
        "vlm:classify:retried": 1,
        "novita:poll:done": 12,
    }
    assert read(Measure.LATENCY) == {"vlm:0.05": 1, "vlm:0.5": 2}
    spend = PeriodCount.objects.get(measure=Measure.SPEND, step=Step.DAY)
    assert spend.total == pytest.approx(0.006)
    assert not ServiceCall.objects.exists()


def test_cost_of_a_classifier_that_bills_nothing_is_not_spent(settings: Any) -> None:
    settings.NANOGPT = {"base_url": "http://127.0.0.1:8000/sandbox/nanogpt/"}
    for service in ("nanogpt", "novita"):
        record_calls(service, Kind.CLASSIFY, Outcome.DONE, cost=Decimal("0.002"))
    record_calls("novita", Kind.SUBMIT, Outcome.DONE, cost=Decimal("0.01"))

    count_all()

    spend = PeriodCount.objects.get(measure=Measure.SPEND, step=Step.DAY)
    assert (spend.part, spend.total) == ("novita", pytest.approx(0.01))


def test_queue_is_sampled_with_the_age_of_its_oldest_image(make_review: MakeReview) -> None:
    make_review()
    make_review()
    age_reviews(minutes=90)

    count_all()

    depth = PeriodCount.objects.get(measure=Measure.QUEUE, part="pending", step=Step.HOUR)
    age = PeriodCount.objects.get(measure=Measure.AGE, step=Step.HOUR)
    assert (depth.count, depth.peak) == (1, 2)
    assert age.peak == pytest.approx(90, abs=1)


def test_job_runs_all_streams_and_is_not_due_again_at_once() -> None:
    assert CountProgress.objects.due().count() == len(Stream)

    tasks.count_periods()

    assert not CountProgress.objects.due().exists()
    assert all(row.counted_until for row in CountProgress.objects.all())


def test_period_after_the_last_count_is_a_gap() -> None:
    noon = datetime(2026, 11, 30, 12, tzinfo=UTC)
    progress = CountProgress(began_at=noon, counted_until=noon + timedelta(minutes=90))
    hours = [noon + timedelta(hours=number) for number in (-1, 0, 1, 2)]

    covered = [progress.covers(hour, hour + timedelta(hours=1)) for hour in hours]

    assert covered == [False, True, True, False]


def test_quantile_lies_within_the_class_that_holds_it() -> None:
    counts = [("0.05", 90), ("0.5", 8), ("more", 2)]

    assert estimate_quantile([], 0.5) is None
    assert 0.02 < (estimate_quantile(counts, 0.5) or 0) < 0.05
    assert 0.2 < (estimate_quantile(counts, 0.95) or 0) < 0.5
    assert estimate_quantile(counts, 1.0) == 120


def test_old_counts_are_deleted_and_days_are_kept_longer() -> None:
    past = timezone.now() - timedelta(days=100)
    for step in Step:
        PeriodCount.objects.create(step=step, start=past, measure=Measure.ARRIVALS)

    assert period_counts.delete_old_counts(10) == 1
    assert PeriodCount.objects.get().step == Step.DAY
