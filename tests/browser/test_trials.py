"""A lead tries a draft, reads what it changes, and judges a change by keyboard."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

import moderation.tasks
from moderation.models import Policy, PolicyTrial, Review, TrialJudgement
from moderation.services import policies
from tests.browser.actions import Make, PageOf, eventually
from tests.moderation.page_helpers import add_label
from tests.moderation.trial_helpers import FULL

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def draft(lead: User, make_review: Make) -> Policy:
    """Return a stricter draft, and store three images that the policy in force approves."""
    first = Policy.objects.active()
    for _ in range(3):
        review = make_review()
        add_label(review, "explicit", 1)
        run = review.asset.classifications.get()
        run.covers, run.classifier = FULL, "nudenet"
        run.save()
    open_policy = policies.create_version(
        based_on=first, user=lead, approves_imports=True, trusted_silences=["nudenet"]
    )
    policies.activate(policy=open_policy, user=lead)
    return policies.create_version(based_on=open_policy, user=lead, may_approve=False)


def test_lead_tries_a_draft_and_judges_what_changes_by_keyboard(
    page_of: PageOf, lead: User, draft: Policy
) -> None:
    page = page_of(lead)
    page.goto(f"/policies/{draft.version}/")
    page.get_by_role("link", name="Try it").click()
    page.get_by_role("button", name="Try it").click()
    expect(page.locator("[data-trial=running]")).to_have_count(1)

    moderation.tasks.try_policies()

    expect(page.locator("[data-trial=finished]")).to_have_count(1)  # the page asks by itself
    assert PolicyTrial.objects.get().result["images"] == 3
    expect(page.locator("#bias")).to_contain_text("3 images would get another outcome")
    page.get_by_role("link", name="Approve → to a person: 3 images").first.focus()
    page.keyboard.press("Enter")

    tiles = page.locator(".trial-images > li")
    expect(tiles).to_have_count(3)
    page.keyboard.press("j")
    expect(tiles.nth(0).locator("a")).to_be_focused()
    page.keyboard.press("w")
    expect(tiles.nth(0)).to_have_attribute("data-answer", "wrong")
    expect(tiles.nth(1).locator("a")).to_be_focused()
    page.keyboard.press("r")
    expect(tiles.nth(1)).to_have_attribute("data-answer", "right")
    eventually(page, lambda: TrialJudgement.objects.count() == 2)

    page.get_by_role("link", name="Back to the trial").click()
    expect(page.locator("#trial")).to_contain_text("1 of 2")
    assert set(Review.objects.values_list("status", flat=True)) == {"pending"}
