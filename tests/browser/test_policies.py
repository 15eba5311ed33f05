"""A policy lead's day: a threshold by keyboard, a proposal, a second person, and back."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, User
from playwright.sync_api import Page, expect

from moderation.models import Classification, Label, Policy, PolicyActivation, Review
from moderation.services import score_stats
from tests.moderation.page_helpers import store_classification_summary

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
PageOf = Callable[..., Page]


def test_lead_moves_a_threshold_has_it_approved_and_rolls_it_back(
    page_of: PageOf, lead: User, make_review: Callable[[], Review]
) -> None:
    second = User.objects.create_user("second")
    second.groups.add(Group.objects.get(name="policy lead"))
    for confidence in (35, 50):
        review = make_review()
        run = Classification.objects.create(
            asset=review.asset, classifier="sandbox", version="1", status="done"
        )
        Label.objects.create(classification=run, category="violence", confidence=confidence)
        store_classification_summary(review)
    score_stats.count_waiting()
    before = Policy.objects.active()

    page = page_of(lead)
    page.goto("/policies/")
    page.get_by_role("button", name="Make a draft").first.click()
    handle = page.get_by_role("slider", name="Person from, Violence")
    expect(handle).to_have_attribute("aria-valuetext", re.compile(r"from 30: 2 of 2 images"))
    handle.focus()
    page.keyboard.press("PageUp")
    page.keyboard.press("ArrowLeft")
    expect(handle).to_have_attribute("aria-valuetext", re.compile(r"from 39: 1 of 2 images"))
    counts = page.locator('[data-rule="violence"] [data-counts]')
    expect(counts.locator('[data-outcome="person"]')).to_have_text("1 to a person")
    rejecting = page.get_by_role("slider", name="Reject from, Violence")
    rejecting.press("End")
    expect(rejecting).to_have_attribute("aria-valuetext", "Reject from: never")
    page.get_by_role("button", name="Save the draft").click()
    page.get_by_role("link", name="Propose").click()
    page.get_by_label("Reason").fill("Too many false alarms.")
    page.get_by_role("button", name="Propose").click()
    expect(page.get_by_text("A second person must approve this change")).to_be_visible()

    other = page_of(second)
    other.goto(page.url)
    expect(other.get_by_text("a person from 39", exact=True)).to_be_visible()
    other.get_by_role("button", name="Approve, and put into force").click()
    expect(other.get_by_text("Too many false alarms.")).to_be_visible()
    rule = Policy.objects.active().rules.get(category="violence")
    assert (rule.review_at, rule.reject_at) == (39, None)

    page.goto("/policies/")
    page.get_by_role("button", name=f"Roll back to version {before.version}").first.click()
    page.get_by_label("Reason").fill("It was no improvement.")
    page.get_by_role("button", name="Propose").click()
    other.goto(page.url)
    other.get_by_role("button", name="Approve, and put into force").click()
    expect(other.get_by_text("It was no improvement.")).to_be_visible()
    assert Policy.objects.active().rules.get(category="violence").review_at == 30
    assert PolicyActivation.objects.latest("pk").author == lead
