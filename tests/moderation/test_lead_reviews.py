"""Reviews for the policy lead: second escalations, and disagreements no senior may settle."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse

from moderation.models import Decision, Review, Verdict
from moderation.services import decisions
from tests.moderation.page_helpers import (
    ClientOf,
    MakeReview,
    get_review_url,
    start_queue,
)
from tests.moderation.record_helpers import verify_chain
from tests.moderation.second_opinion_helpers import judge, judge_over_http


@pytest.fixture
def passed_on(make_review: MakeReview, moderator: User, senior: User) -> Review:
    """Create a review that a moderator and then a senior moderator have escalated."""
    review = make_review()
    for person in (moderator, senior):
        judge(review, person, Verdict.ESCALATE, "unsure")
    review.refresh_from_db()
    return review


def test_second_escalation_gives_the_image_to_the_lead_who_decides_it(
    passed_on: Review, client_of: ClientOf, senior: User, lead: User
) -> None:
    assert (passed_on.status, passed_on.for_lead) == (Review.Status.ESCALATED, True)
    refused = judge_over_http(client_of(senior), passed_on, "approve")
    assert refused.status_code == 403
    assert "A policy lead decides it" in refused.content.decode()
    assert start_queue(client_of(senior), "escalated").url == "/queues/escalated/"

    client = client_of(lead)
    assert start_queue(client, "lead").url.startswith(get_review_url(passed_on))
    assert judge_over_http(client, passed_on, "approve").status_code == 303

    passed_on.refresh_from_db()
    assert (passed_on.status, passed_on.for_lead) == (Review.Status.APPROVED, False)
    assert passed_on.decided_by == lead
    record = Decision.objects.order_by("sequence")
    assert [row.verdict for row in record] == ["escalate", "escalate", "approve"]
    assert verify_chain(record) == []


def test_lead_decides_no_other_reviews(
    make_review: MakeReview, client_of: ClientOf, moderator: User, lead: User
) -> None:
    pending, escalated = make_review(), make_review()
    judge(escalated, moderator, Verdict.ESCALATE, "unsure")
    client = client_of(lead)

    for review in (pending, escalated):
        assert judge_over_http(client, review, "approve").status_code == 403
    for slug in ("waiting", "escalated"):
        assert client.get(reverse("moderation:queue-detail", args=[slug])).status_code == 404


def test_undone_decisions_return_the_image_to_where_it_was(
    passed_on: Review, senior: User, lead: User
) -> None:
    last = judge(passed_on, lead, "approve")
    decisions.reverse(decision=last, user=lead)
    passed_on.refresh_from_db()
    assert passed_on.for_lead
    passed_on.release(lead)

    escalation = Decision.objects.filter(reviewer=senior).get()
    decisions.reverse(decision=escalation, user=senior)

    passed_on.refresh_from_db()
    assert (passed_on.status, passed_on.for_lead) == (Review.Status.ESCALATED, False)


@pytest.mark.parametrize("is_other_senior", [True, False])
def test_disagreement_of_a_senior_waits_for_another_one_or_goes_to_the_lead(
    is_other_senior: bool,
    make_review: MakeReview,
    client_of: ClientOf,
    moderator: User,
    senior: User,
    lead: User,
    settings: Any,
) -> None:
    settings.SECOND_OPINION_PERCENT = 100
    if is_other_senior:
        other = User.objects.create_user("other")
        other.groups.add(Group.objects.get(name="senior moderator"))
    review = make_review()
    judge(review, moderator, "approve")

    judge(review, senior, "reject")

    review.refresh_from_db()
    assert (review.status, review.for_lead) == (Review.Status.ESCALATED, not is_other_senior)
    page = client_of(senior).get(get_review_url(review)).content.decode()
    told = "Another senior moderator decides it" if is_other_senior else "With the policy leads."
    assert told in page
    if not is_other_senior:
        assert judge_over_http(client_of(lead), review, "reject").status_code == 303
