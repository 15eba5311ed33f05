"""Approving blurred by key, also while the server does not answer, and lifting it by button."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from moderation.models import Decision, Review
from tests.browser.actions import Make, PageOf, begin, current, press, sent, verdicts

pytestmark = pytest.mark.django_db(transaction=True)


def test_key_approves_blurred_also_when_the_verdict_is_sent_late(
    page_of: PageOf, moderator: User, waiting: list[Review], faults: list[str]
) -> None:
    page = page_of(moderator)
    begin(page)
    first = current(page)
    page.context.set_offline(True)

    press(page, "d")

    expect(page.locator("#panel")).not_to_have_attribute("data-review", first)
    expect(page.locator("#live")).to_contain_text("unsent")
    assert not Decision.objects.exists()
    page.context.set_offline(False)
    sent(page)
    assert verdicts() == [(first, "approve")]
    assert Decision.objects.get().is_blurred
    assert Review.objects.get(uuid=first).is_blurred
    expect(page.locator("#sidebar-approve .num")).to_have_text("1")
    page.keyboard.press("?")
    expect(page.locator("[data-keys]")).to_contain_text("Approve blurred")
    faults[:] = [fault for fault in faults if "ERR_INTERNET_DISCONNECTED" not in fault]


def test_panel_says_delivered_blurred_and_a_senior_lifts_it(
    page_of: PageOf, make_review: Make, moderator: User, senior: User
) -> None:
    review = make_review()
    assert review.claim_for(moderator)
    page = page_of(moderator)
    page.goto(review.get_absolute_url())
    press(page, "d")
    expect(page.locator(".subject .badge")).to_have_text("Approved blurred")

    page = page_of(senior)
    page.goto(review.get_absolute_url())
    expect(page.locator(".delivery")).to_contain_text("Delivered blurred.")
    page.get_by_label("Why the delivery is changed").fill("Only a beach.")
    page.get_by_role("button", name="Deliver unblurred").click()

    expect(page.locator(".subject .badge")).to_have_text("Approved")
    expect(page.locator(".delivery")).to_contain_text("Delivered unblurred.")
    review.refresh_from_db()
    assert not review.is_blurred
