"""Preferences applied to lists of images, and the layout in narrow windows."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from moderation.models import Preferences, Review, Verdict
from moderation.services import decisions
from tests.browser.actions import PageOf, begin, have_seen_much, settle

pytestmark = pytest.mark.django_db(transaction=True)
Make = Callable[..., Review]


@pytest.fixture
def pages(make_review: Make, moderator: User) -> list[str]:
    """Return the URLs of all lists, each with at least one image."""
    batch = uuid4()
    for _ in range(2):
        review = make_review(original_name="cellar.png")
        decisions.claim(review=review, user=moderator)
        decisions.decide(review=review, user=moderator, verdict=Verdict.APPROVE, batch=batch)
    make_review()
    return [
        "/queues/waiting/",
        "/search/?q=cellar",
        "/decisions/",
        "/history/",
        f"/batches/{batch}/",
    ]


def test_preference_without_blur_applies_to_every_list(
    page_of: PageOf, moderator: User, pages: list[str]
) -> None:
    Preferences.objects.create(user=moderator, blur=False)
    page = page_of(moderator)
    for address in pages:
        page.goto(address)
        expect(page.locator("main .image-cover .real").first).to_be_visible()
        expect(page.locator("main .image-cover[data-thumbnail]")).to_have_count(0)
        expect(page.locator("[data-reveal-one]")).to_have_count(0)


def test_b_reveals_one_blurred_image_and_v_reveals_all(
    page_of: PageOf, moderator: User, pages: list[str]
) -> None:
    page = page_of(moderator)
    asked: list[str] = []
    page.on(
        "request", lambda request: asked.append(request.url) if "preview" in request.url else None
    )
    for address in pages:
        page.goto(address, wait_until="networkidle")
        covers = page.locator("main .image-cover[data-thumbnail]")
        assert covers.count() >= 1
        assert asked == [], f"{address} sends nothing but the blur"
        page.keyboard.press("b")
        expect(page.locator("#live")).to_contain_text("Move to an image first")

        page.locator(
            "main :is(li, tr):has(.image-cover[data-thumbnail]) a:not([tabindex='-1'])"
        ).first.focus()
        page.keyboard.press("b")
        expect(page.locator("main .image-cover[data-revealed] .real")).to_have_count(1)
        expect(covers.first).to_have_attribute("data-revealed", "")
        page.keyboard.press("v")
        expect(page.locator("main .image-cover[data-revealed] .real")).to_have_count(covers.count())
        page.keyboard.press("v")
        expect(page.locator("main .image-cover[data-revealed]")).to_have_count(0)
        asked.clear()


def overflow(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


@pytest.mark.parametrize("width", [320, 390])
def test_narrow_pages_do_not_scroll_sideways_and_show_the_whole_navigation(
    page_of: PageOf, admin: User, waiting: list[Review], width: int
) -> None:
    Preferences.objects.create(user=admin, blur=False)
    page = page_of(admin, viewport={"width": width, "height": 700}, has_touch=True, is_mobile=True)
    begin(page)
    assert overflow(page) <= 0
    tools = page.locator(".viewer .tools")
    assert tools.evaluate("bar => bar.scrollWidth <= bar.clientWidth")
    for address in (
        "/",
        "/queues/",
        "/queues/waiting/",
        "/history/",
        "/quality/",
        "/providers/",
        "/search/",
    ):
        page.goto(address)
        assert overflow(page) <= 0, address
        page.get_by_label("Menu", exact=True).tap()
        links = page.get_by_role("navigation", name="Main").get_by_role("link")
        boxes = [link.bounding_box() for link in links.all()]
        assert len(boxes) >= 6
        assert all(box and box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
        hints = page.locator("main kbd:visible")
        assert hints.count() == 0, f"{address} shows keys to a thumb"


def test_quality_table_fits_on_a_phone(page_of: PageOf, senior: User) -> None:
    page = page_of(senior, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.goto("/quality/")

    cells = page.locator(".quality td").evaluate_all(
        "all => all.map(one => { const box = one.getBoundingClientRect(); return [box.left,"
        " box.right]; })"
    )
    assert len(cells) >= 7
    assert all(left >= 0 and right <= 390 for left, right in cells)
    expect(page.locator(".quality td").first).to_be_visible()


def test_phone_shows_the_whole_image_beside_open_categories_and_a_suggested_break(
    page_of: PageOf, moderator: User, waiting: list[Review]
) -> None:
    have_seen_much(moderator)
    page = page_of(
        moderator, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    begin(page)
    expect(page.locator("#break .notice")).to_be_visible()
    settle(page)
    page.get_by_role("button", name="Reject", exact=True).last.tap()
    expect(page.locator("#chooser")).to_have_attribute("open", "")

    picture = page.locator(".viewer .canvas").bounding_box()
    action_bar = page.locator("#action-bar").bounding_box()
    assert picture is not None
    assert action_bar is not None
    assert picture["y"] >= 44
    assert picture["height"] > 150
    assert picture["y"] + picture["height"] <= action_bar["y"]
    page.keyboard.press("Escape")
    expect(page.locator("#break .notice")).to_be_visible()


def test_empty_history_message_uses_the_page_width(page_of: PageOf, moderator: User) -> None:
    page = page_of(moderator)
    page.goto("/history/")

    title = page.get_by_text("You have made no decisions yet")
    box = title.bounding_box()
    assert box is not None
    assert box["width"] > 200
    assert box["height"] < 60
