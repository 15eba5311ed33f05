"""The image at the desk in a real browser: cover, reveal, zoom, pan, small start."""

from __future__ import annotations

from itertools import pairwise

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from moderation.models import Preferences, Review
from tests.browser.actions import PageOf, begin, eventually, press, sent, settle

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def test_covered_image_is_not_downloaded_until_space_is_held(
    page_of: PageOf, moderator: User, waiting: list[Review]
) -> None:
    asked: list[str] = []
    page = page_of(moderator)
    page.on(
        "request", lambda request: asked.append(request.url) if "/assets/" in request.url else None
    )
    begin(page)
    press(page, "s")
    assert asked == []

    page.keyboard.down(" ")
    expect(page.locator(".viewer .real")).to_be_visible()
    page.keyboard.up(" ")
    expect(page.locator(".viewer .real")).to_be_hidden()
    assert len(asked) == 1


def test_keys_zoom_pan_and_change_the_surround(
    page_of: PageOf, moderator: User, waiting: list[Review]
) -> None:
    Preferences.objects.create(user=moderator, blur=False)
    page = page_of(moderator)
    begin(page)
    box = page.locator(".viewer .real").bounding_box()
    assert box is not None
    press(page, "+", "+")
    larger = page.locator(".viewer .real").bounding_box()
    assert larger is not None
    assert larger["width"] == pytest.approx(box["width"] * 2.25, rel=0.01)
    page.keyboard.press("Shift+ArrowRight")
    moved = page.locator(".viewer .real").bounding_box()
    assert moved is not None
    assert moved["x"] < larger["x"]
    page.keyboard.press("0")
    assert page.locator(".viewer .real").bounding_box() == box
    page.keyboard.press("g")
    expect(page.locator("#viewer")).to_have_attribute("data-surround", "mid")
    eventually(page, Preferences.objects.filter(user=moderator, surround="mid").exists)


def test_actual_size_announces_the_zoom_level(
    page_of: PageOf, moderator: User, waiting: list[Review]
) -> None:
    """Use images smaller than the viewer, which enlarges them to fit."""
    Preferences.objects.create(user=moderator, blur=False)
    page = page_of(moderator)
    begin(page)
    press(page, "z")
    expect(page.locator("#live")).to_have_text(
        "Actual size, which is smaller than the room for it."
    )
    expect(page.locator("[data-zoom-shown]")).to_have_text("100%")
    shown = page.locator(".viewer .real").bounding_box()
    assert shown is not None
    image = page.locator(".viewer .real")
    across, down = (int(image.get_attribute(name) or 0) for name in ("width", "height"))
    # The element fills the viewer; the image inside it matches in width or in height.
    assert min(shown["width"] / across, shown["height"] / down) == pytest.approx(1, abs=0.01)
    press(page, "z")
    expect(page.locator("#live")).to_have_text("The whole image.")
    expect(page.locator("[data-zoom-shown]")).to_have_text("fit")


def test_zoom_steps_from_a_small_start_have_the_same_ratio(
    page_of: PageOf, moderator: User, waiting: list[Review]
) -> None:
    Preferences.objects.create(user=moderator, blur=False, small_first=True)
    page = page_of(moderator)
    begin(page)
    settle(page)
    widths = [drawn(page)]
    for _ in range(4):
        page.keyboard.press("+")
        widths.append(drawn(page))
    assert [after / before for before, after in pairwise(widths)] == pytest.approx(
        [1.5] * 4, rel=0.01
    )
    page.keyboard.press("a")
    sent(page)
    assert drawn(page) == pytest.approx(widths[0], rel=0.01), "the next one begins small, too"


def drawn(page: Page) -> float:
    """Return the displayed width of the image in CSS pixels, without the empty space beside it."""
    return float(
        page.evaluate(
            "() => { const image = document.querySelector('.viewer .real'), box ="
            " image.getBoundingClientRect(); const [across, down] = ['width', 'height'].map((name)"
            " => image.getAttribute(name)); return across * Math.min(box.width / across, box.height"
            " / down); }"
        )
    )
