"""The contact sheet by keyboard, mouse and touch, and without JavaScript."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, Route, expect

from moderation.models import Decision, Review
from moderation.services import claims
from tests.browser.actions import eventually, have_seen_much
from tests.moderation.page_helpers import MakeReview

pytestmark = pytest.mark.slow

Window = Callable[..., Page]


@pytest.fixture
def reviews(make_review: MakeReview, transactional_db: None) -> list[Review]:
    """Create six reviews; the last two are near duplicates."""
    made = [make_review() for _ in range(6)]
    Review.objects.filter(pk__in=[one.pk for one in made[4:]]).update(
        near_duplicate_group=made[4].asset_id
    )
    return made


def claim(page: Page) -> None:
    page.goto("/queues/waiting/")
    page.keyboard.press("c")
    expect(page.get_by_role("option").first).to_be_focused()


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def selected(page: Page) -> list[int]:
    """Return the positions of the tiles with aria-selected."""
    options = page.get_by_role("option").all()
    return [
        place
        for place, option in enumerate(options)
        if option.get_attribute("aria-selected") == "true"
    ]


def verdicts() -> list[tuple[str, int]]:
    return list(Decision.objects.order_by("sequence").values_list("verdict", "review_id"))


def test_sheet_is_decided_and_undone_by_keyboard(
    page_of: Window, reviews: list[Review], moderator: User
) -> None:
    page = page_of(moderator)
    claim(page)

    press(page, "ArrowRight", "Space", "Shift+ArrowRight")
    assert selected(page) == [1, 2]
    press(page, "r", "Shift+g")
    assert page.locator("#chooser [value=gambling]").is_checked()
    press(page, "Enter")
    expect(page.get_by_role("button", name="Reject 2")).to_be_focused()
    assert verdicts() == []

    press(page, "Escape")
    expect(page.get_by_role("option").nth(2)).to_be_focused()
    assert selected(page) == [1, 2]
    assert page.locator("#chooser [value=gambling]").is_checked()
    press(page, "r")
    expect(page.get_by_role("button", name="Reject 2")).to_be_focused()
    press(page, "Enter")

    expect(page.get_by_role("option")).to_have_count(3)
    expect(page.locator("#live")).to_have_text("Rejected 2 images.")
    expect(page.get_by_role("option").nth(2)).to_be_focused()
    assert verdicts() == [("reject", reviews[1].pk), ("reject", reviews[2].pk)]
    press(page, "u")
    expect(page.get_by_role("option")).to_have_count(5)
    expect(page.locator("#live")).to_have_text("Reversed: 2 images.")
    assert verdicts()[2:] == [("reopen", reviews[1].pk), ("reopen", reviews[2].pk)]
    press(page, "Escape", "a")
    expect(page.locator("#live")).to_contain_text("Nothing is selected")
    press(page, "y")
    expect(page.get_by_role("button", name="Approve 6")).to_be_focused()
    press(page, "Enter")
    expect(page.get_by_role("button", name="Next sheet")).to_be_focused()
    assert {review.status for review in Review.objects.all()} == {"approved"}


def test_panel_enlarges_the_tile_under_the_cursor_and_respects_its_cover(
    page_of: Window, reviews: list[Review], moderator: User
) -> None:
    page = page_of(moderator)
    claim(page)
    preview = page.locator("#about .picture")
    expect(preview.locator(".image-cover")).to_be_visible()
    expect(preview.locator(".real")).to_have_count(0)

    press(page, "ArrowRight", "b")
    expect(preview.locator(".real")).to_have_attribute(
        "src", re.compile(str(reviews[1].asset.uuid))
    )
    press(page, "ArrowRight")
    expect(preview.locator(".real")).to_have_count(0)
    box = preview.bounding_box()
    tile = page.get_by_role("option").first.bounding_box()
    assert box is not None
    assert tile is not None
    assert box["width"] > 1.5 * tile["width"]


def test_escape_cancels_a_late_preview_and_space_confirms_nothing(
    page_of: Window, reviews: list[Review], moderator: User, faults: list[str]
) -> None:
    page = page_of(moderator)
    claim(page)
    held: list[Route] = []
    page.route("**/sheet/decisions/**", lambda route: held.append(route))
    press(page, "*", "a")
    eventually(page, lambda: held)
    press(page, "Escape")
    expect(page.locator("#live")).to_have_text("Cancelled: nothing was decided.")
    expect(page.locator("#verdicts")).to_be_enabled()
    faults.clear()  # htmx logs the cancelled request
    page.unroute("**/sheet/decisions/**")

    press(page, "a")
    expect(page.get_by_role("button", name="Approve 6")).to_be_focused()
    press(page, "Space")

    expect(page.locator("#live")).to_contain_text("Enter confirms")
    expect(page.get_by_role("button", name="Approve 6")).to_be_focused()
    assert verdicts() == []


def test_bulk_escalation_requires_a_reason(
    page_of: Window, reviews: list[Review], moderator: User
) -> None:
    page = page_of(moderator)
    claim(page)

    press(page, "Control+a", "e")
    expect(page.get_by_label("Reason for the senior moderator")).to_be_focused()
    press(page, "Enter")
    assert verdicts() == [], "a reason is required"
    page.keyboard.type("Same face in all")
    press(page, "Enter")

    expect(page.get_by_text("This sheet is done")).to_be_visible()
    assert {decision.note for decision in Decision.objects.all()} == {"Same face in all"}
    assert Decision.objects.count() == 6


def test_sheet_is_a_listbox_with_one_tab_stop(
    page_of: Window, reviews: list[Review], moderator: User
) -> None:
    page = page_of(moderator)
    claim(page)
    box = page.get_by_role("listbox", name="Images of this sheet")
    options = box.get_by_role("option")

    expect(box).to_have_attribute("aria-multiselectable", "true")
    expect(options).to_have_count(5)
    expect(options.last).to_have_accessible_name(
        f"Not judged, image {reviews[4].asset.short_id}, 2 images that look the same"
    )
    press(page, "End")
    expect(options.last).to_be_focused()
    press(page, "ArrowRight", "h", "k")
    expect(options.nth(3)).to_be_focused()
    assert box.locator("[tabindex='0']").count() == 1
    press(page, "Tab")
    assert page.evaluate("!document.activeElement.closest('#tiles')")
    press(page, "Shift+Tab")
    expect(options.nth(3)).to_be_focused()
    press(page, "*")
    assert selected(page) == [0, 1, 2, 3, 4]
    press(page, "Escape")
    assert selected(page) == []


def test_thumbnails_are_downloaded_only_when_revealed(
    page_of: Window, reviews: list[Review], moderator: User
) -> None:
    page, asked = page_of(moderator), []
    page.on(
        "request",
        lambda request: asked.append(request.url) if request.url.endswith("/thumbnail") else None,
    )
    claim(page)
    assert asked == []

    press(page, "b")
    expect(page.get_by_role("option").first.locator(".real")).to_be_visible()
    press(page, "b")
    expect(page.get_by_role("option").first.locator(".real")).to_be_hidden()
    assert len(asked) == 1
    assert reviews[0].asset.thumbnail_url in asked[0]
    press(page, "v")
    expect(page.locator("#tiles .real:visible")).to_have_count(5)
    press(page, "Space", "a")
    expect(page.locator("#act .thumbs .real")).to_have_count(1)
    assert len(asked) == 5, "the browser has what it has shown"


def test_near_duplicates_are_expanded_and_stay_selected(
    page_of: Window, reviews: list[Review], moderator: User
) -> None:
    page = page_of(moderator)
    claim(page)

    press(page, "End", "Space", "m")
    expect(page.get_by_role("option")).to_have_count(6)
    assert selected(page) == [4, 5]
    press(page, "ArrowRight", "Space", "a")
    expect(page.get_by_role("button", name="Approve 1")).to_be_focused()
    press(page, "Enter")
    expect(page.get_by_role("option")).to_have_count(5)
    assert verdicts() == [("approve", reviews[4].pk)]


def test_mouse_selects_a_range_and_opens_an_image(
    page_of: Window, reviews: list[Review], moderator: User
) -> None:
    page = page_of(moderator)
    claim(page)
    options = page.get_by_role("option")

    options.nth(0).click()
    options.nth(2).click(modifiers=["Shift"])
    assert selected(page) == [0, 1, 2]
    options.nth(1).click()
    assert selected(page) == [0, 2]
    options.nth(3).dblclick()

    expect(page).to_have_url(re.compile(f"{reviews[3].get_absolute_url()}\\?queue=waiting$"))
    assert Review.objects.held_by(moderator).count() == 6, (
        "opening one gives none of the others back"
    )


def test_tap_selects_and_long_press_reveals(
    page_of: Window, reviews: list[Review], moderator: User
) -> None:
    page = page_of(
        moderator, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page.goto("/queues/waiting/")
    page.get_by_role("button", name="Contact sheet").tap()
    first = page.get_by_role("option").first

    first.tap()
    assert selected(page) == [0]
    first.dispatch_event("pointerdown", {"pointerType": "touch", "bubbles": True})
    expect(first.locator(".real")).to_be_visible()
    first.dispatch_event("pointerup", {"pointerType": "touch", "bubbles": True})
    expect(first.locator(".real")).to_be_hidden()
    page.get_by_role("button", name="Approve selected").tap()
    page.get_by_role("button", name="Approve 1").tap()

    expect(page.get_by_role("button", name="Undo all 1")).to_be_in_viewport()
    assert verdicts() == [("approve", reviews[0].pk)]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def soonest_end() -> float:
    """Return the seconds until the first claim expires."""
    ends = [review.claimed_until for review in Review.objects.all()]
    return min((until - timezone.now()).total_seconds() if until else 0 for until in ends)


def test_leaving_the_sheet_shortens_its_claims_and_reloading_keeps_them(
    page_of: Window, reviews: list[Review], moderator: User
) -> None:
    page = page_of(moderator)
    claim(page)

    page.reload()
    expect(page.get_by_role("option").first).to_be_focused()
    expect(page.locator(".tile[data-gone]")).to_have_count(0)
    expect(page.get_by_role("option")).to_have_count(5)
    page.goto("/queues/")

    def ends_soon() -> bool:
        latest = timezone.now() + claims.SHORT_LEASE
        return all(
            review.claimed_until and review.claimed_until <= latest
            for review in Review.objects.all()
        )

    eventually(page, ends_soon)  # the browser sends the beacon asynchronously


def test_reopened_sheet_keeps_its_claims_when_the_release_arrives_late(
    page_of: Window, reviews: list[Review], moderator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, renewed, given_back = page_of(moderator), threading.Event(), threading.Event()
    release = claims.release

    def late(**names: Any) -> int:
        renewed.wait(60)
        try:
            return release(**names)
        finally:
            given_back.set()

    monkeypatch.setattr(claims, "release", late)
    claim(page)

    with page.expect_response("**/claims/renewal/"):
        page.goto("/queues/waiting/sheet/")
    renewed.set()
    eventually(page, given_back.is_set)
    page.wait_for_timeout(300)  # for a page that would lose its tiles now

    expect(page.get_by_role("option")).to_have_count(5)
    assert Review.objects.held_by(moderator).count() == 6
    assert (
        soonest_end() > 60
    )  # of the usual five minutes; a released claim has less than half a one


@pytest.mark.parametrize("way", ["back", "keys"])
def test_returning_to_the_sheet_restores_selection_focus_and_scroll_position(
    page_of: Window, make_review: MakeReview, moderator: User, way: str, transactional_db: None
) -> None:
    made = [make_review() for _ in range(48)]
    page = page_of(moderator, viewport={"width": 900, "height": 500})
    claim(page)
    press(page, "Space", "End", "Space", "ArrowUp", "Space")
    chosen = selected(page)
    scrolled = page.locator("#tiles").evaluate("list => list.scrollTop")
    assert len(chosen) == 3
    assert scrolled > 100

    press(page, "Enter")
    expect(page.locator("#panel")).to_have_attribute("data-review", str(made[chosen[1]].uuid))
    # Meanwhile the image selected last is decided elsewhere.
    Review.objects.filter(pk=made[47].pk).update(claimed_by=None, claimed_until=None, risk=0)
    Review.objects.filter(pk=made[47].pk).update(status="approved", decided_at=timezone.now())
    if way == "back":
        page.go_back()
    else:
        page.goto("/queues/waiting/")
        press(page, "c")

    expect(page.get_by_role("option")).to_have_count(47)
    expect(page.get_by_role("option").nth(chosen[1])).to_be_focused()
    assert selected(page) == chosen[:2]
    expect(page.locator("[data-selected]")).to_have_text("2 images selected")
    assert abs(page.locator("#tiles").evaluate("list => list.scrollTop") - scrolled) < 200


def test_stored_selection_belongs_to_one_user_and_expires_with_the_claims(
    page_of: Window, reviews: list[Review], moderator: User
) -> None:
    page = page_of(moderator)
    claim(page)
    press(page, "Space")
    page.reload()
    expect(page.get_by_role("option").first).to_be_focused()
    assert selected(page) == [0]

    # Move the clock six minutes forward: the claims last five.
    page.evaluate("Date.now = (now => () => now() - 360000)(Date.now)")
    page.reload()
    expect(page.get_by_role("option").first).to_be_focused()
    assert selected(page) == []
    assert (
        page.evaluate("Object.keys(sessionStorage)").count(f"loupe.sheet.{moderator.pk}.waiting")
        == 1
    )


def test_new_sheet_starts_without_a_selection(
    page_of: Window, make_review: MakeReview, moderator: User, transactional_db: None
) -> None:
    for _ in range(6):
        make_review()
    page = page_of(moderator)
    claim(page)
    press(page, "End", "Space")
    page.goto("/queues/")
    Review.objects.update(status="approved", decided_at=timezone.now())
    for _ in range(6):
        make_review()

    claim(page)

    assert selected(page) == []


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_suggested_break_appears_above_the_tiles_without_moving_buttons(
    page_of: Window, reviews: list[Review], moderator: User, width: int, height: int
) -> None:
    page = page_of(moderator, viewport={"width": width, "height": height})
    claim(page)
    before = page.locator("#verdicts").bounding_box()
    have_seen_much(moderator)

    page.reload()

    strip = page.get_by_role("status").filter(has_text="a good moment for a break")
    expect(strip).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("option").first).to_be_focused()
    expect(page.get_by_role("option").first).to_be_in_viewport(ratio=1)
    assert page.locator("#verdicts").bounding_box() == before
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    press(page, "Space")
    page.get_by_role("button", name="Remind me next hour").focus()
    press(page, "Enter")

    expect(strip).to_have_count(0)
    expect(page.get_by_role("option").first).to_be_focused()
    assert selected(page) == [0]
    assert Review.objects.held_by(moderator).count() == 6


def test_sheet_works_as_a_form_without_javascript(
    page_of: Window, reviews: list[Review], moderator: User
) -> None:
    page = page_of(moderator, java_script_enabled=False)
    page.goto("/queues/waiting/")
    page.get_by_role("button", name="Contact sheet").click()

    page.get_by_role("checkbox", name=reviews[1].asset.short_id).check()
    page.get_by_role("checkbox", name=reviews[4].asset.short_id).check()
    page.get_by_text("Categories", exact=True).click()
    page.get_by_role("checkbox", name="Gambling").check()
    page.get_by_role("button", name="Reject selected").click()
    page.get_by_role("button", name="Back").click()
    expect(page.get_by_role("checkbox", name=reviews[1].asset.short_id)).to_be_checked()
    page.get_by_role("button", name="Reject selected").click()
    page.get_by_role("button", name="Reject 3").click()

    expect(page.get_by_text("Undo all 3")).to_be_visible()
    assert [primary_key for _, primary_key in verdicts()] == [
        reviews[place].pk for place in (1, 4, 5)
    ]
    page.get_by_role("button", name="Undo all 3").click()
    expect(page.get_by_text("They are open again, and you hold them.")).to_be_visible()
    assert Review.objects.waiting().count() == 6
