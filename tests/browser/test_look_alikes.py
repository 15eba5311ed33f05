"""The line about released look-alikes, which appears after a rejection at the desk."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from generation.models import Source
from moderation.models import Verdict
from moderation.services import decisions
from tests.browser.actions import Make, PageOf, begin, press, sent
from tests.conftest import picture

pytestmark = pytest.mark.django_db(transaction=True)


def test_rejection_shows_released_look_alikes_until_the_next_one(
    page_of: PageOf, make_review: Make, moderator: User, senior: User
) -> None:
    released = make_review(content=picture(501), source=Source.API)
    decisions.claim(review=released, user=senior)
    decisions.decide(review=released, user=senior, verdict=Verdict.APPROVE)
    same = make_review(content=picture(501), source=Source.API)
    for seed in (502, 503):
        make_review(content=picture(seed), source=Source.API)
    page = page_of(moderator)
    begin(page)

    press(page, "r", "v", "1")
    sent(page)

    line = page.locator("#look-alikes")
    text = f"1 look-alike of image {same.asset.short_id} is already released: show, escalate"
    expect(line).to_have_text(text)
    with page.expect_response("**/live/**"):
        page.evaluate("htmx.trigger('#sidebar', 'renew')")
    expect(line).to_have_text(text)
    press(page, "a")
    sent(page)
    expect(line).to_have_text(text)
    line.get_by_role("link").click()
    expect(page.get_by_role("checkbox")).to_be_checked()
    page.get_by_role("button", name="Send the chosen images to the seniors").click()
    expect(page.get_by_role("heading", name="Batch of 1 decision")).to_be_visible()
