"""The page Today: queues, running work and failures for each role, and its poll."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from config.worker import scheduler
from generation import jobs
from generation.models import GenerationRequest, JobSlot, ProviderState
from moderation.models import (
    Classification,
    DailyStats,
    Decision,
    Delivery,
    Policy,
    Review,
    Verification,
)
from moderation.presenters.dashboard import OVERDUE
from moderation.services import policies
from tests.moderation.page_helpers import HTMX, ClientOf, MakeReview, make_claimed_review
from tests.moderation.record_helpers import without_triggers
from tests.moderation.second_opinion_helpers import judge

MakeRequest = Callable[..., GenerationRequest]
QUEUES, POLICY, RECORD, OPERATIONS = (
    "Waiting for a moderator",
    "Policy in force",
    "The record",
    "Operations",
)


def read_element(text: str, place: str) -> str:
    found = re.search(rf'id="{place}"[^>]*>([^<]*)<', text)
    assert found is not None, place
    return found.group(1)


@pytest.mark.parametrize(
    ("who", "shown"),
    [
        ("moderator", {QUEUES}),
        ("senior", {QUEUES, "For senior moderators"}),
        ("lead", {QUEUES, POLICY, RECORD}),
        ("auditor", {RECORD}),
        ("operator", {OPERATIONS}),
        ("admin", {QUEUES, "For senior moderators", POLICY, OPERATIONS}),
    ],
)
def test_today_shows_the_sections_of_each_role(
    client_of: ClientOf, db: None, request: pytest.FixtureRequest, who: str, shown: set[str]
) -> None:
    text = client_of(request.getfixturevalue(who)).get("/").content.decode()

    assert {
        part
        for part in (QUEUES, "For senior moderators", POLICY, RECORD, OPERATIONS)
        if f">{part}</h2>" in text
    } == shown
    assert ">Running</h2>" in text
    assert ">Needs attention</h2>" in text


def test_today_returns_200_without_a_role(client_of: ClientOf, db: None) -> None:
    assert client_of(User.objects.create_user("nobody")).get("/").status_code == 200


def test_moderator_sees_queue_counts_oldest_age_and_own_claims(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    for minutes in (50, 5, 1):
        review = make_review()
        Review.objects.filter(pk=review.pk).update(
            created_at=timezone.now() - timedelta(minutes=minutes)
        )
    make_claimed_review(make_review, moderator)
    judge(make_review(), moderator, "reject")

    text = client_of(moderator).get("/").content.decode()

    assert read_element(text, "n-waiting") == "4"
    assert read_element(text, "o-waiting") == "oldest 50 min"
    assert read_element(text, "n-second-opinion") == "0"
    assert read_element(text, "o-second-opinion") == "nothing waits"
    assert read_element(text, "n-mine") == "1 image reserved for you"
    assert read_element(text, "n-reject") == "1"
    assert "/queues/mine/claims/" in text
    assert "n-escalated" not in text


def test_start_is_disabled_for_empty_queue_until_poll_finds_an_image(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    client = client_of(moderator)

    def start(text: str) -> str:
        return text[text.index('id="start-waiting"') :].partition("</form>")[0]

    assert '<button class="button" disabled>' in start(client.get("/").content.decode())
    make_review()
    polled = client.get("/", headers=HTMX).content.decode()
    assert " disabled" not in start(polled)
    assert start(polled).startswith('id="start-waiting" data-waits hx-swap-oob="true">')
    assert 'data-hotkey="s"' in start(polled)


def test_poll_updates_date_and_lists(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    client = client_of(moderator)
    decision = judge(make_review(), moderator, "approve")

    text = client.get("/", headers=HTMX).content.decode()

    assert (
        read_element(text, "n-day")
        == f"{timezone.now():%A} {timezone.now().day} {timezone.now():%B}"
    )
    recent = text[
        text.index('<div id="recent" data-waits hx-swap-oob="true">') : text.index('id="world"')
    ]
    assert decision.review.asset.short_id in recent
    assert (
        "No errors since yesterday."
        in text[text.index('id="world" data-waits hx-swap-oob="true"') :]
    )
    for place in ("recent", "world"):
        assert f'id="{place}" data-waits>' in client.get("/").content.decode()


def test_senior_sees_escalations_disagreements_and_second_opinions(
    client_of: ClientOf,
    make_review: MakeReview,
    moderator: User,
    other_moderator: User,
    senior: User,
    settings: Any,
) -> None:
    judge(make_review(), moderator, "escalate")
    settings.SECOND_OPINION_PERCENT = 100
    for verdict in ("reject", "approve"):
        judge(judge(make_review(), moderator, "approve").review, other_moderator, verdict)
    judge(make_review(), moderator, "approve")

    text = client_of(senior).get("/").content.decode()

    assert read_element(text, "n-escalated") == "2"
    assert read_element(text, "n-disagreements") == "1"
    assert read_element(text, "n-second-opinion") == "1"
    assert "without a settler" not in read_shown(text)


def test_today_names_disagreements_that_nobody_may_settle(
    client_of: ClientOf,
    make_review: MakeReview,
    moderator: User,
    senior: User,
    operator: User,
    settings: Any,
) -> None:
    settings.SECOND_OPINION_PERCENT = 100
    judge(judge(make_review(), moderator, "approve").review, senior, "reject")

    for viewer, advice in (
        (senior, "An operator can make another person a senior moderator."),
        (operator, '<a href="/team/">Team</a>'),
    ):
        text = client_of(viewer).get("/").content.decode()
        assert read_element(text, "n-unsettled") == "1 disagreement without a settler"
        assert advice in text

    other_senior = User.objects.create_user("second-senior")
    other_senior.groups.set(senior.groups.all())
    text = client_of(senior).get("/").content.decode()
    assert read_element(text, "n-unsettled") == "0 disagreements without a settler"
    assert "without a settler" not in read_shown(text)


def read_shown(text: str) -> str:
    """Return a page without its hidden blocks."""
    return re.sub(r"<div hidden>.*?</div>", "", text, flags=re.DOTALL)


def test_lead_sees_policy_in_force_and_its_counts_of_today(client_of: ClientOf, lead: User) -> None:
    today = timezone.now().date()
    DailyStats.objects.create(day=today, l1="alcohol", by_policy=7, by_people=2)
    DailyStats.objects.create(day=today, l1="", by_policy=5, policy_reversed=1)
    DailyStats.objects.create(day=today - timedelta(days=1), l1="", by_policy=1000)
    made = policies.create_version(
        based_on=Policy.objects.active(), user=lead, name="Stricter", may_approve=False
    )
    policies.activate(policy=made, user=lead)

    text = client_of(lead).get("/").content.decode()

    assert "Stricter" in text
    assert "Auto-approval is off." in text
    found = [
        read_element(text, place) for place in ("n-by_policy", "n-by_people", "n-policy_reversed")
    ]
    assert found == ["12", "2", "1"]


def test_auditor_sees_length_and_verification_of_record(
    client_of: ClientOf, make_review: MakeReview, moderator: User, auditor: User
) -> None:
    client = client_of(auditor)
    judge(make_review(), moderator, "approve")
    assert ">never<" in client.get("/").content.decode()

    call_command("verify_decisions", verbosity=0)

    text = client.get("/").content.decode()
    assert read_element(text, "n-record") == "1"
    assert ">Unaltered<" in text
    assert 'href="/exports/decisions.csv"' in text
    assert read_element(text, "n-f-policy") == "version 1"
    assert read_element(text, "n-f-record") == "unaltered"


def test_altered_record_is_shown_with_number_of_faults(
    client_of: ClientOf, make_review: MakeReview, moderator: User, auditor: User
) -> None:
    judge(make_review(), moderator, "approve")
    with without_triggers():
        Decision.objects.update(note="forged")

    with pytest.raises(CommandError, match="Decision 1 was altered"):
        call_command("verify_decisions")

    assert Verification.objects.get().faults == 1
    assert "1 fault<" in client_of(auditor).get("/").content.decode()


# --- Operators ---
def test_operator_sees_whether_a_worker_is_alive(
    client_of: ClientOf, admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(admin)
    assert ">Not running<" in client.get("/").content.decode()

    monkeypatch.setattr(jobs, "REGISTRY", {})
    monkeypatch.setattr(scheduler, "close_old_connections", lambda: None)
    scheduler.Scheduler()._tick()

    text = client.get("/").content.decode()
    assert ">Running<" in text
    assert jobs.HOST in text
    later = timezone.now() + JobSlot.LEASE + timedelta(seconds=1)
    monkeypatch.setattr(timezone, "now", lambda: later)
    assert ">Not running<" in client.get("/").content.decode()


def test_heartbeat_uses_one_row_and_its_name_is_reserved(db: None) -> None:
    heartbeat = jobs.Heartbeat()
    for _ in range(3):
        heartbeat.send_heartbeat()

    assert JobSlot.objects.alive(timezone.now()).count() == 1
    with pytest.raises(ValueError, match="plain word"):
        jobs.job("worker", due=lambda: False)(lambda run: None)


def test_operator_sees_failing_providers_and_webhooks(
    client_of: ClientOf, admin: User, make_request: MakeRequest
) -> None:
    now = timezone.now()
    ProviderState.objects.create(
        slug="novita-sandbox",
        last_success_at=now - timedelta(hours=2),
        last_error_at=now,
        last_error="It was asleep.",
    )
    for number_of, (status, due, ended) in enumerate(
        [
            ("waiting", now - OVERDUE - timedelta(seconds=9), None),
            ("waiting", now, None),
            ("failed", None, now),
            ("failed", None, now - timedelta(days=2)),
            ("delivered", None, now),
        ]
    ):
        Delivery.objects.create(
            request=make_request(seed=number_of),
            kind="finished",
            status=status,
            due_at=due,
            finished_at=ended,
        )

    text = client_of(admin).get("/").content.decode()

    assert "It was asleep." in text
    assert ">Failing<" in text
    assert (read_element(text, "n-overdue"), read_element(text, "n-given-up")) == ("1", "1")


# --- Failures ---
def test_failed_requests_and_classifications_are_listed(
    client_of: ClientOf, make_review: MakeReview, make_request: MakeRequest, moderator: User
) -> None:
    make_request(prompt="a lost one", status="unknown", error="Nobody knows.", seed=1)
    make_request(
        prompt="a failed one", status="failed", error="No.", finished_at=timezone.now(), seed=2
    )
    review = make_review()
    Classification.objects.create(
        asset=review.asset, classifier="x", version="1", status="failed", error="It was blind."
    )

    text = client_of(moderator).get("/").content.decode()

    assert "a lost one" in text
    assert "a failed one" in text
    assert "It was blind." in text
    judge(review, moderator, "approve")
    assert "It was blind." not in client_of(moderator).get("/").content.decode()


# --- The poll ---
def test_poll_returns_only_elements_that_the_page_has(
    client_of: ClientOf, make_review: MakeReview, admin: User
) -> None:
    client = client_of(admin)
    page = client.get("/").content.decode()
    make_review()

    text, _, lists = client.get("/", headers=HTMX).content.decode().partition('<div id="recent"')
    part, _, buttons = text.partition('<div id="start-')

    assert re.findall(r'id="(\w+)" data-waits hx-swap-oob="true"', f'<div id="recent"{lists}') == [
        "recent",
        "world",
    ]
    starts = re.findall(
        r'id="start-([\w-]+)" data-waits hx-swap-oob="true"', f'<div id="start-{buttons}'
    )
    assert starts == ["waiting", "escalated", "lead", "second-opinion"]
    places = re.findall(r'id="([no]-[\w-]+)"', part)
    assert (
        re.sub(
            r'<span(?: class="num")? id="[no]-[\w-]+" hx-swap-oob="true">[^<]*</span>', "", part
        ).strip()
        == ""
    )
    assert read_element(part, "n-waiting") == "1"
    assert len(places) == len(set(places)) > 10
    assert [place for place in places if f'id="{place}"' not in page] == []
    assert "HX-Request" in client.get("/", headers=HTMX)["Vary"]


@pytest.mark.parametrize(
    ("who", "most"),
    [("moderator", 20), ("senior", 20), ("lead", 24), ("auditor", 20), ("admin", 36)],
)
def test_today_stays_within_query_limit(
    client_of: ClientOf,
    make_review: MakeReview,
    request: pytest.FixtureRequest,
    who: str,
    most: int,
) -> None:
    client = client_of(request.getfixturevalue(who))
    judge(make_review(), request.getfixturevalue("senior"), "approve")
    make_review()

    for headers in ({}, HTMX):
        with CaptureQueriesContext(connection) as queries:
            client.get("/", headers=headers)
        assert len(queries) <= most
