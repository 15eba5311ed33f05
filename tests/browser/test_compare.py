"""Two images side by side on the review page, by keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from generation.models import Source
from tests.browser.actions import Make, PageOf, begin, current, press

pytestmark = pytest.mark.django_db(transaction=True)


def read_sources(page: Page) -> list[str]:
    sources: list[str] = page.locator("#compare img").evaluate_all(
        "all => all.map(one => one.getAttribute('src').slice(0, 8))"
    )
    return sources


def test_siblings_are_compared_blurred_until_one_key_reveals_both(
    page_of: PageOf, moderator: User, make_review: Make, make_request: Callable[..., Any]
) -> None:
    request = make_request(image_num=3)
    for position in range(3):
        make_review(source=Source.TXT2IMG, request=request, position=position)
    page = page_of(moderator)
    begin(page)
    shown = current(page)

    press(page, "p")

    dialog = page.locator("#compare")
    expect(dialog.locator("[data-said]")).to_have_text("Image 2 of this request, 1 of 2")
    assert read_sources(page) == ["data:ima", "data:ima"], "no image was requested"
    page.keyboard.press("b")
    assert read_sources(page) == ["/assets/", "/assets/"]
    page.keyboard.press("+")
    expect(dialog.locator("[data-scale]")).to_have_text("×1.5")
    page.keyboard.press("j")
    expect(dialog.locator("[data-said]")).to_have_text("Image 3 of this request, 2 of 2")
    page.keyboard.press("a")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert current(page) == shown, "verdict keys do nothing in the comparison"
