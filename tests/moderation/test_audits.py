"""Audits: the draw among the policy's own decisions, blindness, and what follows from an answer."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from moderation.models import Audit, DailyStats, Decision, Policy, Review, Verdict
from moderation.models.classification_summary import deserialize
from moderation.queues import QUEUES
from moderation.services import audits, claims, decisions, policies, statistics
from tests.moderation.page_helpers import ClientOf, MakeReview, get_review_url, start_queue
from tests.moderation.reclassification_helpers import (
    MakeAsset,
    Steered,
    get_review,
    store,
    use_steered,
)
from tests.moderation.second_opinion_helpers import judge, judge_over_http, read_state

pytestmark = pytest.mark.django_db
WAITING, SECOND = QUEUES["waiting"], QUEUES["second-opinion"]


@pytest.fixture(autouse=True)
def _audit_all(settings: Any, lead: User) -> Iterator[None]:
    """Audit every decision of a policy that approves imports and rejects "explicit" from 60."""
    use_steered(settings)
    settings.AUDIT_APPROVED_PERCENT = settings.AUDIT_REJECTED_PERCENT = 100
    draft = policies.create_version(
        based_on=Policy.objects.active(), user=lead, approves_imports=True
    )
    draft.rules.filter(category="explicit").update(reject_at=60)
    policies.activate(policy=draft, user=lead)
    yield
    Steered.results.clear()


# --- The draw ---
@pytest.mark.parametrize(
    ("result", "status", "stratum", "percent", "probability"),
    [
        (0, "approved", 0, "2", "0.0200"),
        (12, "approved", 1, "2", "0.0400"),
        (12, "approved", 1, "80", "1.0000"),
        (90, "rejected", 4, "2", "0.0200"),
    ],
)
def test_stratum_and_probability_of_the_draw_are_stored(
    make_asset: MakeAsset,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    result: int,
    status: str,
    stratum: int,
    percent: str,
    probability: str,
) -> None:
    settings.AUDIT_APPROVED_PERCENT = settings.AUDIT_REJECTED_PERCENT = Decimal(percent)
    monkeypatch.setattr(
        Decision, "compute_hash", lambda self, events=None: f"{self.sequence % 100:015x}" * 4
    )

    review = get_review(store(make_asset, result))

    audit = Audit.objects.get()
    assert (review.status, review.second_opinion) == (status, "wanted")
    assert (audit.decision, audit.stratum) == (review.decisions.get(), stratum)
    assert audit.probability == Decimal(probability)


def test_near_misses_are_drawn_more_often_than_silent_images(settings: Any) -> None:
    settings.AUDIT_APPROVED_PERCENT = Decimal(2)
    decision = Decision(verdict=Verdict.APPROVE)
    drawn = []
    for stratum in (0, 3):
        probability = audits.compute_probability(Verdict.APPROVE, stratum)
        hits = 0
        for number in range(10_000):
            decision.hash = f"{number:015x}" + "0" * 49
            hits += audits.second_opinions.is_hash_drawn(decision, probability)
        drawn.append(hits)

    assert drawn == [200, 1200]


def test_nothing_is_drawn_at_zero_percent(make_asset: MakeAsset, settings: Any) -> None:
    settings.AUDIT_APPROVED_PERCENT = settings.AUDIT_REJECTED_PERCENT = 0

    states = [read_state(get_review(store(make_asset, result))) for result in (0, 90)]

    assert states == [("approved", ""), ("rejected", "")]
    assert not Audit.objects.exists()


def test_finding_without_a_number_is_in_the_highest_stratum() -> None:
    run = {
        "classifier": "vlm",
        "status": "done",
        "flagged": None,
        "score": "3",
        "error": "",
        "covers": {},
        "details": {},
        "parts": [["explicit", None, None]],
    }

    assert audits.find_stratum(deserialize([run])) == 4
    assert audits.find_stratum(deserialize([{**run, "parts": [], "score": "41"}])) == 3


def test_known_file_that_the_policy_rejects_again_is_not_shown_again(
    make_asset: MakeAsset, moderator: User, settings: Any
) -> None:
    settings.CLASSIFIERS = ["steered", "hashes"]
    first = store(make_asset, 30)
    judge(get_review(first), moderator, "reject")

    with first.rendition.open("rb") as file:
        again = make_asset(file.read())

    assert read_state(get_review(again)) == ("rejected", "")
    assert not Audit.objects.exists()


# --- Blindness ---
def test_person_who_audits_sees_neither_decision_nor_results(
    client_of: ClientOf, make_asset: MakeAsset, moderator: User
) -> None:
    review, browser = get_review(store(make_asset, 12)), client_of(moderator)

    answer = start_queue(browser, "second-opinion")
    pages = [
        browser.get(answer["Location"]).content.decode(),
        browser.get(get_review_url(review)).content.decode(),
        browser.get(
            get_review_url(review, "waiting"),
            headers={"HX-Request": "true", "HX-Target": "viewer"},
        ).content.decode(),
        browser.get("/queues/second-opinion/").content.decode(),
    ]
    found = browser.get("/search/").content.decode()

    assert answer["Location"] == get_review_url(review, "second-opinion")
    assert "Blind check" in pages[0]
    assert "Blind check" in pages[3]
    assert str(review.uuid) not in found.partition("<main")[2]
    for page in pages:
        panel = page.partition("<main")[2] or page
        assert "Steered" not in panel
        assert 'data-status="approved"' not in panel
        assert "Found by classifiers" not in panel
        assert "policy version" not in panel


def test_contact_sheet_hides_results_of_audits(
    client_of: ClientOf, make_asset: MakeAsset, moderator: User
) -> None:
    store(make_asset, 90)
    browser = client_of(moderator)
    browser.post(reverse("moderation:sheet", args=["second-opinion"]))

    page = browser.get(reverse("moderation:sheet", args=["second-opinion"])).content.decode()

    table = page.partition("data-members")[2].partition("</ul>")[0]
    assert "Blind check" in table
    assert "Explicit" not in table
    assert "Steered" not in table


def test_results_are_shown_again_after_the_answer(
    client_of: ClientOf, make_asset: MakeAsset, moderator: User
) -> None:
    review, browser = get_review(store(make_asset, 12)), client_of(moderator)
    judge_over_http(browser, review, "approve")

    page = browser.get(get_review_url(review)).content.decode()

    assert "Steered" in page
    assert "Approved" in page


# --- The ordinary queue ---
def test_audits_follow_the_last_waiting_image(
    make_asset: MakeAsset, make_review: MakeReview, moderator: User
) -> None:
    audit, waiting = get_review(store(make_asset)), make_review()

    first = decisions.claim_next(user=moderator, queue=WAITING)
    assert first == waiting
    decisions.decide(review=waiting, user=moderator, verdict=Verdict.APPROVE)

    assert decisions.claim_next(user=moderator, queue=WAITING) == audit


@pytest.mark.parametrize(("number", "is_audit_next"), [(20, True), (21, False)])
def test_audit_comes_after_one_image_in_twenty(
    make_asset: MakeAsset,
    make_review: MakeReview,
    moderator: User,
    number: int,
    is_audit_next: bool,
) -> None:
    audit, decided, other = get_review(store(make_asset)), make_review(), make_review()
    Review.objects.filter(pk=decided.pk).update(uuid=UUID(int=number))
    decided.refresh_from_db()
    assert decided.claim_for(moderator)

    claimed = decisions.decide_and_claim(
        review=decided,
        user=moderator,
        verdict=Verdict.APPROVE,
        next_claims={"queue": WAITING, "count": 1, "skipped": (), "avoided": ()},
    )

    assert claimed == [audit if is_audit_next else other]


def test_filtered_queues_and_contact_sheets_get_no_audits(
    make_asset: MakeAsset, moderator: User
) -> None:
    store(make_asset)
    narrowed = WAITING.narrowed({"order": "oldest"})

    assert claims.claim_for_desk(user=moderator, queue=narrowed, count=3) == []
    assert claims.claim_batch(user=moderator, queue=WAITING, count=3) == []
    assert len(claims.claim_for_desk(user=moderator, queue=WAITING, count=3)) == 1


def test_requester_does_not_get_own_image_as_an_audit(
    make_asset: MakeAsset, moderator: User
) -> None:
    review = get_review(store(make_asset))
    Review.objects.filter(pk=review.pk).update(requested_by=moderator)

    assert decisions.claim_next(user=moderator, queue=WAITING) is None
    assert decisions.claim_next(user=moderator, queue=SECOND) is None


# --- Answers ---
@pytest.mark.parametrize(("result", "verdict"), [(0, "approve"), (90, "reject")])
def test_agreeing_answer_keeps_the_decision_of_the_policy(
    make_asset: MakeAsset, moderator: User, result: int, verdict: str
) -> None:
    review = get_review(store(make_asset, result))
    before = review.status

    answer = judge(review, moderator, verdict)

    assert read_state(review) == (before, "agreed")
    assert answer.second_of == Audit.objects.get().decision
    assert review.decided_by is None


@pytest.mark.parametrize(("result", "verdict"), [(0, "reject"), (90, "approve"), (0, "escalate")])
def test_differing_answer_escalates_the_image(
    client_of: ClientOf,
    make_asset: MakeAsset,
    moderator: User,
    senior: User,
    result: int,
    verdict: str,
) -> None:
    review = get_review(store(make_asset, result))

    judge(review, moderator, verdict)

    assert read_state(review) == ("escalated", "disagreed")
    assert review.decided_at is None
    page = client_of(senior).get(get_review_url(review, "escalated")).content.decode()
    assert "A person disagreed with the policy" in page
    judge(review, senior, "reject")
    assert read_state(review)[0] == "rejected"


def test_undone_answer_can_be_given_again(make_asset: MakeAsset, moderator: User) -> None:
    review = get_review(store(make_asset))
    answer = judge(review, moderator, "reject")

    decisions.reverse(decision=answer, user=moderator)

    assert read_state(review) == ("approved", "wanted")
    assert review.is_audit
    judge(review, moderator, "approve")
    assert read_state(review) == ("approved", "agreed")


def test_answers_are_not_counted_as_agreement_within_the_team(
    make_asset: MakeAsset, moderator: User
) -> None:
    judge(get_review(store(make_asset)), moderator, "approve")
    undone = judge(get_review(store(make_asset)), moderator, "reject")
    decisions.reverse(decision=undone, user=moderator)

    while statistics.count_batch():
        pass

    rows = DailyStats.objects.values_list("by_policy", "by_people", "agreed", "disagreed")
    assert [sum(column) for column in zip(*rows, strict=True)] == [2, 0, 0, 0]
