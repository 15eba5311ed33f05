"""The command palette by keyboard: a page, an id, an action of the page."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from moderation.models import Preferences, Review
from tests.browser.actions import PageOf

pytestmark = pytest.mark.django_db(transaction=True)


def test_palette_goes_to_pages_queues_and_ids_with_single_letters_off(
    page_of: PageOf, make_review: Callable[..., Review], senior: User
) -> None:
    Preferences.objects.create(user=senior, hotkeys=False)
    review = make_review()
    page = page_of(senior)
    page.goto("/")
    box = page.get_by_role("combobox", name=re.compile("Go to"))

    page.locator("#bar-q").focus()
    page.keyboard.press("Control+k")
    expect(box).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#bar-q")).to_be_focused()

    page.keyboard.press("Control+k")
    expect(page.get_by_role("option", name=re.compile("^Escalated"))).to_have_count(1)
    page.keyboard.type("deci")
    expect(box).to_have_attribute("aria-activedescendant", "palette-0")
    expect(page.locator("#palette-list [aria-selected=true]")).to_contain_text("Decisions")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/decisions/$"))

    page.keyboard.press("Meta+k")
    page.keyboard.type(review.asset.short_id)
    expect(page.locator("#palette-list [aria-selected=true]")).to_contain_text(
        str(review.asset.uuid)
    )
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/reviews/{review.uuid}/"))

    page.keyboard.press("Control+k")
    page.keyboard.type("start reviewing: waiting")
    page.keyboard.press("Enter")
    expect(page.locator("#claim")).to_be_attached()
