"""The desk on a phone, operated by touch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from moderation.models import Exposure, Review
from tests.browser.actions import begin, current, have_seen_much, sent, settle, verdicts
from tests.generation.imaging.pictures import encoded
from tests.generation.imaging.pictures import picture as draw_picture

pytestmark = pytest.mark.django_db(transaction=True)
PageOf = Callable[..., Page]


def test_swipe_right_approves_and_swipe_left_opens_the_categories(
    page_of: PageOf, moderator: User, waiting: list[Review]
) -> None:
    page = page_of(
        moderator, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    begin(page)
    first = current(page)
    settle(page)
    swipe(page, by=160)
    expect(page.locator("#panel")).not_to_have_attribute("data-review", first)
    sent(page)
    assert verdicts() == [(first, "approve")]

    settle(page)
    swipe(page, by=-160)
    expect(page.locator("#chooser")).to_have_attribute("open", "")
    assert len(verdicts()) == 1


def test_phone_shows_a_suggested_break_above_the_image_without_moving_buttons(
    page_of: PageOf, moderator: User, waiting: list[Review]
) -> None:
    page = page_of(
        moderator, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    begin(page)
    before = page.locator("#verdicts").bounding_box()
    have_seen_much(moderator)

    page.goto(page.url)

    strip = page.get_by_role("status").filter(has_text="a good moment for a break")
    expect(strip).to_be_in_viewport(ratio=1)
    assert page.locator("#verdicts").bounding_box() == before
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="Remind me next hour").tap()
    expect(strip).to_have_count(0)
    expect(page.locator("#subject")).to_be_focused()
    page.set_viewport_size({"width": 1440, "height": 900})
    page.reload()
    Exposure.objects.update(is_put_off=False)
    page.reload()
    expect(page.locator("#sidebar").get_by_role("button", name="Take a break")).to_be_visible()
    expect(page.locator("#break")).to_be_hidden()


def test_phone_keeps_the_image_in_view_while_rejecting(
    page_of: PageOf, moderator: User, waiting: list[Review]
) -> None:
    page = page_of(
        moderator, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    begin(page)
    expect(page.locator("#claim")).to_be_in_viewport(ratio=1)
    expect(page.locator(".reason-summary")).to_be_in_viewport(ratio=1)
    settle(page)
    page.evaluate("scrollTo(0, 200)")
    page.get_by_role("button", name="Reject", exact=True).last.tap()
    expect(page.locator("#chooser")).to_have_attribute("open", "")

    picture = page.locator(".viewer .canvas").bounding_box()
    action_bar = page.locator("#action-bar").bounding_box()
    assert picture is not None
    assert action_bar is not None
    assert page.evaluate("scrollY") == 0
    assert picture["height"] > 200
    assert picture["y"] + picture["height"] <= action_bar["y"]
    rows = page.locator(".chooser .choices :is(label, summary), .verdicts .button").all()
    heights = [box["height"] for row in rows if row.is_visible() and (box := row.bounding_box())]
    assert min(heights) >= 44


def swipe(page: Page, *, by: int) -> None:
    box: Any = page.locator(".viewer .picture").bounding_box()
    x, y = box["x"] + box["width"] / 2 - by / 2, box["y"] + box["height"] / 2
    session = page.context.new_cdp_session(page)
    session.send(
        "Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]}
    )
    for part in (0.25, 0.5, 0.75, 1):
        session.send(
            "Input.dispatchTouchEvent",
            {"type": "touchMove", "touchPoints": [{"x": x + by * part, "y": y + 2}]},
        )
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_phone_shows_views_of_the_original_large_enough_to_be_judged(
    page_of: PageOf, moderator: User, make_review: Callable[..., Review]
) -> None:
    image = draw_picture(300, 200).convert("RGBA")
    image.putalpha(128)
    review = make_review(content=encoded(image, "PNG"))
    page = page_of(moderator, viewport={"width": 390, "height": 844})
    page.goto(f"{review.get_absolute_url()}?reveal=1")

    views = page.locator(".views img")
    expect(views).to_have_count(4)
    for each in [page.locator(".viewer .canvas"), *views.all()]:
        box = each.bounding_box()
        assert box is not None
        assert box["width"] > 150
        assert box["height"] > 90
