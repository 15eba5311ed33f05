"""Pages around the deck in a real browser, operated without a mouse.

Covers queues, search, history and second opinions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Locator, Page, expect

from moderation.models import Decision, Preferences, Review, SavedQueue, Verdict
from moderation.models.found_categories import BITS
from moderation.services import decisions
from tests.browser.actions import begin, press, sent, settle
from tests.conftest import picture
from tests.moderation.second_opinion_helpers import judge

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
PageOf = Callable[..., Page]
Make = Callable[..., Review]


def alcohol(review: Review) -> Review:
    Review.objects.filter(pk=review.pk).update(
        top_category="alcohol",
        top_category_l1="alcohol",
        top_confidence=80,
        risk=80,
        found=BITS["alcohol"],
    )
    review.refresh_from_db()
    return review


def decided(review: Review, user: User, verdict: Verdict, **given: Any) -> Decision:
    decisions.claim(review=review, user=user)
    return decisions.decide(review=review, user=user, verdict=verdict, **given)


def tab_to(page: Page, place: Locator) -> None:
    """Press Tab until the element has the focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if place.first.evaluate("one => one === document.activeElement"):
            return
    raise AssertionError(f"no key leads to {place}")


def test_filters_are_saved_as_a_named_queue(
    page_of: PageOf, moderator: User, make_review: Make
) -> None:
    wanted = alcohol(make_review())
    for _ in range(3):
        make_review()
    page = page_of(moderator)
    page.goto("/queues/waiting/")
    tab_to(page, page.get_by_label("Category"))
    page.keyboard.type("Alcohol")
    tab_to(page, page.get_by_role("button", name="Filter"))
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"category=alcohol"))
    expect(page.locator(".frame")).to_have_count(1)

    tab_to(page, page.locator("summary", has_text="Save as…"))
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("Bottles")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Bottles")).to_be_visible()
    assert SavedQueue.objects.get().name == "Bottles"

    page.wait_for_load_state()
    page.keyboard.press("s")
    expect(page).to_have_url(re.compile(rf"/reviews/{wanted.uuid}/"))
    expect(page.locator('.sidebar [aria-current="true"]')).to_have_text("Bottles")


def test_new_reviews_are_announced_without_moving_the_list(
    page_of: PageOf, moderator: User, make_review: Make
) -> None:
    make_review()
    page = page_of(moderator)
    page.goto("/queues/waiting/")
    frames = page.locator(".frame")
    tab_to(page, frames.first.locator("a"))
    where = frames.first.bounding_box()

    make_review()
    page.evaluate(
        "htmx.ajax('GET', document.querySelector('#arrivals').getAttribute('hx-get'),"
        " {source: '#arrivals', swap: 'outerHTML'})"
    )
    expect(page.locator("#arrivals")).to_contain_text("1 new")
    assert frames.count() == 1
    assert frames.first.bounding_box() == where
    expect(frames.first.locator("a")).to_be_focused()
    page.keyboard.press("l")
    expect(frames).to_have_count(2)


def test_image_is_found_by_words_and_by_an_uploaded_copy(
    page_of: PageOf, moderator: User, make_review: Make, tmp_path: Path
) -> None:
    for number in range(3):
        make_review(content=picture(90 + number), original_name=f"cellar-{number}.png")
    page = page_of(moderator)
    page.goto("/")
    page.keyboard.press("/")
    page.keyboard.type("cellar")
    page.keyboard.press("Enter")
    results = page.locator(".results .frame > a:first-child")
    expect(results).to_have_count(3)
    page.wait_for_load_state()  # the key handlers load with the page
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(results.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/reviews/"))

    (tmp_path / "mine.png").write_bytes(picture(91))
    page.goto("/search/")
    page.set_input_files("#id_image", tmp_path / "mine.png")
    tab_to(page, page.get_by_role("button", name="Search by picture"))
    page.keyboard.press("Enter")
    expect(page.locator(".results")).to_contain_text("The same picture")


def test_history_reverses_a_decision_with_one_key(
    page_of: PageOf, moderator: User, make_review: Make
) -> None:
    first, second = make_review(), make_review()
    decided(first, moderator, Verdict.APPROVE)
    decided(second, moderator, Verdict.REJECT, categories=["violence.weapons"])
    page = page_of(moderator)
    page.goto("/history/")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("u")
    expect(page).to_have_url(re.compile(rf"/reviews/{first.uuid}/"))
    first.refresh_from_db()
    assert (first.status, first.claimed_by) == ("pending", moderator)
    second.refresh_from_db()
    assert second.status == "rejected"


def test_second_opinion_is_blind_and_a_disagreement_is_escalated(
    page_of: PageOf,
    moderator: User,
    other_moderator: User,
    senior: User,
    make_review: Make,
    settings: Any,
) -> None:
    settings.SECOND_OPINION_PERCENT = 100
    review = make_review()
    decided(
        review,
        other_moderator,
        Verdict.REJECT,
        categories=["violence.weapons"],
        note="A blade, I think",
    )
    page = page_of(moderator)
    page.goto("/queues/second-opinion/")
    page.keyboard.press("s")
    expect(page).to_have_url(re.compile(rf"/reviews/{review.uuid}/"))
    expect(page.locator("#panel")).to_contain_text("This image is already decided")
    told = page.locator("#panel").inner_text()
    assert not re.search(r"blade|Weapons by|Rejected|other", told)
    press(page, "a")
    sent(page)

    review.refresh_from_db()
    assert (review.status, review.second_opinion) == ("escalated", "disagreed")
    desk_of_senior = page_of(senior)
    desk_of_senior.goto("/queues/escalated/")
    desk_of_senior.keyboard.press("s")
    expect(desk_of_senior.locator(".disagreement")).to_contain_text("Two people disagreed")
    expect(desk_of_senior.locator(".disagreement")).to_contain_text("A blade, I think")


def test_image_cover_depends_on_category_and_returns_after_some_seconds(
    page_of: PageOf, moderator: User, make_review: Make
) -> None:
    review = alcohol(make_review())
    page = page_of(moderator)
    page.goto("/preferences/")
    tab_to(page, page.locator('[name="cover_again"]:checked'))
    page.keyboard.press("ArrowRight")
    tab_to(page, page.locator('[name="cover-alcohol"]:checked'))
    while not page.locator('[name="cover-alcohol"][value="grey"]').is_checked():
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Preferences")).to_be_visible()
    stored = Preferences.objects.get()
    assert (stored.covers, stored.cover_again) == ({"alcohol": "grey"}, 3)

    page.goto(f"/reviews/{review.uuid}/")
    expect(page.locator("#viewer[data-grey] .real")).to_be_visible()
    page.keyboard.press("c")
    expect(page.locator("[data-colour]")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#viewer[data-covered]")).to_be_visible()


def test_category_can_be_skipped_for_today(
    page_of: PageOf, moderator: User, make_review: Make
) -> None:
    other = make_review()
    Review.objects.update(risk=10)
    alcohol(make_review())
    page = page_of(moderator)
    begin(page)
    settle(page)
    expect(page.locator(".headline")).to_have_text("Alcohol 80")
    tab_to(page, page.get_by_role("button", name="Skip this category today"))
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(rf"/reviews/{other.uuid}/"))
    assert list(Preferences.objects.get().avoided) == ["alcohol"]


def test_suggested_break_can_be_put_off(
    page_of: PageOf, moderator: User, make_review: Make
) -> None:
    Preferences.objects.create(user=moderator, break_after=1)
    for _ in range(6):
        make_review()
    page = page_of(moderator)
    begin(page)
    press(page, "a")
    sent(page)
    press(page, "a")
    sent(page)
    page.evaluate("htmx.trigger('#sidebar', 'renew')")
    later = page.get_by_role("button", name="Remind me next hour")
    expect(later).to_be_visible()
    tab_to(page, later)
    page.keyboard.press("Enter")
    expect(later).to_be_hidden()
    press(page, "a")
    sent(page)
    assert Decision.objects.count() == 3


def test_lists_on_today_are_not_refreshed_while_the_pointer_is_over_them(
    page_of: PageOf, moderator: User, waiting: list[Review]
) -> None:
    page = page_of(moderator)
    page.goto("/")
    poll = "htmx.ajax('GET', '/', {source: '[hx-get=\"/\"]', swap: 'none'})"
    judge(waiting[0], moderator, "approve")
    page.get_by_text("You have made no decisions yet.").hover()

    page.evaluate(poll)

    expect(page.locator("#n-approve")).to_have_text("1")
    expect(page.get_by_text("You have made no decisions yet.")).to_be_visible()
    page.get_by_role("heading", name="Today", exact=True).hover()
    page.evaluate(poll)
    expect(page.locator("#recent")).to_contain_text(waiting[0].asset.short_id)
