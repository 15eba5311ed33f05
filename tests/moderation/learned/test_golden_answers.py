"""Answers to golden images enter no export, no training data and no counts."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from moderation.models import Decision, GoldenAnswer, JudgementReport, PeriodCount, Review
from moderation.models.period_counts import Measure
from moderation.services import golden_images, judgement, learning, period_counts
from moderation.services.exports.tables import Table, build_decision_table, build_image_table
from moderation.services.period_counts import Stream, count_batch
from moderation.services.training_data import collect_labels
from tests.moderation.learned.house import WEAPONS, House
from tests.moderation.page_helpers import ClientOf, decide, start_queue

pytestmark = pytest.mark.django_db


def read_table(table: Table) -> list[str]:
    return [str(row) for batch in table.iter_batches() for row in batch]


def measure() -> dict[str, Any]:
    """Return what is exported, learned from, and counted."""
    JudgementReport.objects.update(due_at=timezone.now())
    judgement.run_due(go_on=lambda: True)
    report = JudgementReport.objects.get(days=90).document
    for stream in Stream:
        while count_batch(stream):
            pass
    counts = PeriodCount.objects.exclude(measure__in=[Measure.QUEUE, Measure.AGE]).order_by("pk")
    return {
        "decisions": read_table(build_decision_table(Decision.objects.all(), evidence=True)),
        "images": read_table(build_image_table(Review.objects.all(), evidence=True)),
        "labels": list(collect_labels(learning.build_current_recipe()).labels),
        "judgement": {key: report[key] for key in report.keys() - {"since", "until"}},
        "counts": list(counts.values_list("measure", "step", "start", "part", "count")),
    }


def test_golden_answer_changes_nothing_that_an_ordinary_decision_changes(
    house: House,
    client_of: ClientOf,
    senior: User,
    moderator: User,
    other_moderator: User,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.GOLDEN_PERCENT, settings.SECOND_OPINION_PERCENT = 100, 0
    monkeypatch.setattr("moderation.services.claims.AUDIT_EVERY", 2**200)
    judgement.add_reports()
    period_counts.add_streams()
    known, *others = [house.store(is_red=number != 1) for number in range(3)]
    house.judge(known, "reject", other_moderator, categories=[WEAPONS])
    known.refresh_from_db()
    golden_images.mark(review=known, user=senior)
    client = client_of(moderator)
    start_queue(client)
    first = Review.objects.waiting().get(claimed_by=moderator)
    deck: dict[str, Any] = {"queue": "waiting", "deck": "1", "want": "1"}
    decide(client, first, "approve", **deck)
    assert Review.objects.get(pk=known.pk).claimed_by == moderator
    before = measure()

    decide(client, known, "approve", **deck)
    after = measure()
    second = next(review for review in others if review.pk != first.pk)
    decide(client, second, "approve", **deck)
    ordinary = measure()

    assert GoldenAnswer.objects.get().verdict == "approve"
    assert after == before
    assert [part for part, value in ordinary.items() if value == before[part]] == []
