"""The page of a draft: counts from stored sums, every setting, errors in sentences."""

from __future__ import annotations

import html
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from generation import jobs
from moderation.models import (
    AskRule,
    Classification,
    EarnedTrust,
    Label,
    Policy,
    PolicyProposal,
    Review,
    ScoreStats,
    Verdict,
)
from moderation.services import decisions, policies, proposals, score_stats
from tests.moderation.page_helpers import store_classification_summary

ClientOf = Callable[[User], Client]
pytestmark = pytest.mark.django_db


@pytest.fixture
def draft(lead: User) -> Policy:
    return policies.create_version(based_on=Policy.objects.active(), user=lead, name="Calmer")


def read_form(browser: Client, draft: Policy) -> dict[str, Any]:
    """Return the data that a browser would post."""
    page: Any = browser.get(f"/policies/{draft.version}/")
    form = page.context["form"]
    parts = [form.settings, *form.rules.values()]
    for formset in (form.ask_rules, form.earned_trusts):
        parts += [formset.management_form, *formset.forms]
    data = {"fingerprint": page.context["fingerprint"]}
    for part in parts:
        for bound in part:
            value = bound.value()
            if value is not None and value is not False:
                data[bound.html_name] = value
    return data


def test_lead_changes_every_part_of_a_draft(lead: User, draft: Policy, client_of: ClientOf) -> None:
    browser = client_of(lead)
    proposals.propose(policy=draft, author=lead, reason="Too many false alarms.")
    data = read_form(browser, draft) | {
        "rule-violence-review_at": "40",
        "rule-violence-blur_at": "60",
        "rule-explicit.nudity-is_on": "on",
        "rule-explicit.nudity-reject_at": "80.5",
        "nsfw_level": "1",
        "approves_imports": "on",
        "ask-0-classifier": "nanogpt",
        "ask-0-share": "50",
        "trust-0-classifier": "nanogpt",
        "trust-0-category": "alcohol",
        "trust-0-misses_max": "5",
    }
    del data["rule-gambling-is_on"]

    answer = browser.post(f"/policies/{draft.version}/", data)

    assert answer.status_code == 303, answer.context["problems"]
    saved = Policy.objects.get(pk=draft.pk)
    rules = {rule.category: rule for rule in saved.rules.all()}
    assert (rules["violence"].review_at, rules["violence"].blur_at) == (40, 60)
    assert rules["explicit.nudity"].reject_at == Decimal("80.5")
    assert "gambling" not in rules
    assert (saved.nsfw_level, saved.approves_imports) == (1, True)
    assert AskRule.objects.get(policy=saved).share == 50
    assert EarnedTrust.objects.get(policy=saved).category == "alcohol"
    assert PolicyProposal.objects.get().status == "withdrawn"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"rule-violence-review_at": "60", "rule-violence-reject_at": "50"},
            "Reject from must be at least person from (60) for Violence.",
        ),
        ({"rule-violence-review_at": "200"}, "Person from must be at most 100."),
        ({"nsfw_review_at": "90", "nsfw_reject_at": "20"}, "must not be lower than"),
        ({"ask-0-classifier": "nanogpt"}, "Set at least one condition, or delete this rule"),
        (
            {
                "trust-0-classifier": "nanogpt",
                "trust-0-category": "alcohol",
                "trust-0-misses_max": "0",
            },
            "“Misses at most” must be more than 0",
        ),
    ],
)
def test_errors_are_sentences_for_a_policy_lead(
    lead: User, draft: Policy, client_of: ClientOf, changes: dict[str, str], sentence: str
) -> None:
    browser = client_of(lead)

    answer = browser.post(f"/policies/{draft.version}/", read_form(browser, draft) | changes)

    page = html.unescape(answer.content.decode())
    assert answer.status_code == 422
    assert "The draft was not saved." in page
    assert sentence in page
    names = [
        one.name for model in (Policy, AskRule, EarnedTrust) for one in model._meta.constraints
    ]
    assert not any(name in page for name in names)


def test_two_leads_do_not_overwrite_each_other(
    lead: User, draft: Policy, client_of: ClientOf
) -> None:
    browser = client_of(lead)
    first, second = read_form(browser, draft), read_form(browser, draft)
    browser.post(f"/policies/{draft.version}/", first | {"rule-violence-review_at": "40"})

    answer = browser.post(f"/policies/{draft.version}/", second | {"rule-violence-review_at": "50"})

    assert answer.status_code == 409
    assert "Somebody else changed this draft" in answer.content.decode()
    assert draft.rules.get(category="violence").review_at == 40


def test_version_in_force_is_read_only(lead: User, client_of: ClientOf) -> None:
    active, browser = Policy.objects.active(), client_of(lead)

    assert "<form" not in browser.get("/policies/1/").content.decode().partition("rule-list")[2][:9]
    answer = browser.post(f"/policies/{active.version}/", {"name": "forged"})

    assert answer.status_code in (409, 422)
    assert Policy.objects.active().name == active.name


def find(review: Review, category: str, confidence: int | None) -> None:
    """Store a finding of a classifier."""
    run = Classification.objects.create(
        asset=review.asset, classifier="sandbox", version="1", status="done"
    )
    Label.objects.create(classification=run, category=category, confidence=confidence)
    store_classification_summary(review)


def read_bins(category: str) -> dict[str, dict[int, int]]:
    scores = score_stats.read_scores(30).of(category)
    return {
        verdict: {place: images for place, images in enumerate(bins) if images}
        for verdict, bins in scores.bins.items()
    }


def test_counts_follow_decisions_and_reversals(
    make_review: Callable[[], Review], moderator: User, senior: User
) -> None:
    rejected, waiting = make_review(), make_review()
    find(rejected, "violence.weapons", 71)
    find(waiting, "violence", 12)
    decisions.claim(review=rejected, user=moderator)
    decision = decisions.decide(
        review=rejected, user=moderator, verdict=Verdict.REJECT, categories=["violence.weapons"]
    )
    while score_stats.count_batch():
        pass
    score_stats.count_waiting()
    assert read_bins("violence") == {"approved": {}, "rejected": {71: 1}, "waiting": {12: 1}}
    assert read_bins("violence.weapons")["rejected"] == {71: 1}
    assert score_stats.read_scores(30).images == 2

    decisions.reverse(decision=decision, user=moderator)
    while score_stats.count_batch():
        pass
    score_stats.count_waiting()

    assert read_bins("violence") == {"approved": {}, "rejected": {}, "waiting": {71: 1, 12: 1}}
    assert score_stats.read_scores(30).images == 2


def test_job_counts_waiting_images_once_in_a_while(make_review: Callable[[], Review]) -> None:
    find(make_review(), "alcohol", None)
    assert score_stats.find_due().exists()

    jobs.find("scores")()

    assert not score_stats.find_due().exists()
    assert ScoreStats.objects.get(category="alcohol").unscored == 1


def test_page_reads_only_stored_counts_in_few_queries(
    lead: User, draft: Policy, client_of: ClientOf, make_review: Callable[[], Review]
) -> None:
    find(make_review(), "alcohol", 60)
    score_stats.count_waiting()
    browser = client_of(lead)
    browser.get("/policies/1/")

    for version in (1, draft.version):
        with CaptureQueriesContext(connection) as queries:
            page = browser.get(f"/policies/{version}/").content.decode()
        statements = [query["sql"] for query in queries]
        assert 'data-rule="alcohol"' in page
        assert not any("moderation_label" in text for text in statements)
        assert len(statements) <= 13, statements  # 2 of them for the person
