"""Verification of the whole record in steps, and its page."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from generation import jobs
from moderation.models import Decision, Verdict, Verification
from moderation.services import chain_checks, decisions, verification
from tests.moderation.page_helpers import ClientOf, MakeReview
from tests.moderation.record_helpers import without_triggers


@pytest.fixture
def record(make_review: MakeReview, moderator: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a record of five decisions, which a verification reads two at a time."""
    monkeypatch.setattr(chain_checks, "STEP", 2)
    for _ in range(5):
        review = make_review()
        decisions.claim(review=review, user=moderator)
        decisions.decide(review=review, user=moderator, verdict=Verdict.APPROVE)


def run_steps(count: int) -> None:
    """Run the verification until this many steps are done, as if the worker then stopped."""
    answers = iter([True, *[True] * (count - 1), False])
    Verification.objects.update(due_at=timezone.now())
    verification.run_due(go_on=lambda: next(answers))


def test_interrupted_verification_goes_on_after_its_last_step(record: None, auditor: User) -> None:
    verification.start(user=auditor)

    run_steps(1)
    running = Verification.objects.get()
    assert (running.status, running.decisions, running.percent) == ("running", 2, 40)
    jobs.find("verify")()

    running.refresh_from_db()
    assert (running.status, running.decisions, running.faults) == ("finished", 5, 0)
    assert running.head == Decision.objects.get(sequence=5).hash


def test_worker_that_lost_its_lease_stores_nothing(record: None, auditor: User) -> None:
    verification.start(user=auditor)

    def lose_lease() -> bool:
        Verification.objects.filter(decisions=0).update(lease=None)
        return True

    answers = iter([lambda: True, lose_lease])
    verification.run_due(go_on=lambda: next(answers)())

    assert Verification.objects.get().decisions == 0


def test_faults_of_every_step_are_stored_in_words(record: None, auditor: User) -> None:
    with without_triggers():
        Decision.objects.filter(sequence__in=[1, 4]).update(note="forged")
        Decision.objects.filter(sequence=3).delete()
    verification.start(user=auditor)

    jobs.find("verify")()

    found = Verification.objects.get()
    assert found.messages[:3] == [
        "Decision 1 was altered.",
        "Decision 3 is missing: the next one is 4.",
        "Decision 4 was altered.",
    ]
    assert "is approved, but its decisions say pending" in found.messages[3]
    assert found.faults == 4


def test_decision_past_the_head_of_the_chain_is_reported(record: None) -> None:
    row = Decision.objects.get(sequence=5)
    row.pk, row.uuid, row.sequence, row.previous_hash = None, None, 6, row.hash
    row.uuid = Decision._meta.get_field("uuid").get_default()
    row.hash = row.compute_hash()
    row.save(force_insert=True)

    assert verification.verify_record()[1] == [
        "The record goes on to decision 6, but the head of the chain is decision 5."
    ]


@pytest.mark.skipif(
    connection.vendor != "sqlite", reason="PostgreSQL refuses a text in a column of times"
)
def test_unreadable_decision_is_reported_in_words(record: None) -> None:
    with without_triggers(), connection.cursor() as cursor:
        cursor.execute("UPDATE moderation_decision SET created_at = 'no time' WHERE sequence = 2")

    assert verification.verify_record()[1] == ["Decision 2 was altered: it cannot be read."]


def test_only_one_verification_runs_at_a_time(
    record: None, auditor: User, client_of: ClientOf
) -> None:
    client = client_of(auditor)

    first = client.post("/verifications/new/", follow=True).content.decode()
    second = client.post("/verifications/new/", follow=True).content.decode()

    assert "Started" in first
    assert "already running" in second
    assert Verification.objects.count() == 1


def test_page_shows_progress_then_result(record: None, auditor: User, client_of: ClientOf) -> None:
    client = client_of(auditor)
    client.post("/verifications/new/")
    run_steps(1)

    running = client.get("/verifications/").content.decode()
    part: Any = client.get("/verifications/", headers={"hx-request": "true"})
    jobs.find("verify")()
    finished = client.get("/verifications/").content.decode()

    assert 'value="40"' in running
    assert "<html" not in part.content.decode()
    assert 'hx-trigger="every' in part.content.decode()
    assert "Unaltered" in finished
    assert 'hx-trigger="every' not in finished


def test_verifications_are_for_people_with_permission(
    record: None, moderator: User, admin: User, client_of: ClientOf
) -> None:
    assert client_of(moderator).get("/verifications/").status_code == 403
    assert client_of(moderator).post("/verifications/new/").status_code == 403
    assert not Verification.objects.exists()
