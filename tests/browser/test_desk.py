"""The desk in a real browser, operated by keyboard.

Covers the deck, unsent and refused decisions, undo, and claims held in another window.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from generation.models import Source
from moderation.models import Decision, Exposure, Preferences, Review
from moderation.services import claims, decisions
from tests.browser.actions import (
    Make,
    PageOf,
    ahead,
    begin,
    current,
    eventually,
    filled,
    following,
    press,
    quiet,
    sent,
    settle,
    verdicts,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_next_image_is_shown_before_the_verdict_is_sent(
    page_of: PageOf, moderator: User, waiting: list[Review]
) -> None:
    page = page_of(moderator)
    begin(page)
    assert ahead(page) == 5
    assert Review.objects.held_by(moderator).count() == 6
    first, second = current(page), following(page)

    settle(page)
    # Read in the same JavaScript task as the key press, so no response can have arrived yet.
    shown = page.evaluate(
        "() => { const press = new KeyboardEvent('keydown', {key: 'a', bubbles: true, cancelable:"
        " true}); document.body.dispatchEvent(press); return"
        " document.querySelector('#panel').dataset.review; }"
    )

    assert shown == second
    sent(page)
    assert verdicts() == [(first, "approve")]
    assert ahead(page) == 5
    expect(page.locator("#live")).to_contain_text("Approved image")
    expect(page).to_have_url(re.compile(second))


def test_keyboard_decides_a_whole_queue_with_every_verdict(
    page_of: PageOf, moderator: User, waiting: list[Review]
) -> None:
    page = page_of(moderator)
    begin(page)
    seen = [current(page)]
    for keys in (["a"], ["r", "v", "1"], ["Shift+V", "2"], ["r", "g"], ["s"]):
        press(page, *keys)
        expect(page.locator("#panel")).not_to_have_attribute("data-review", seen[-1])
        seen.append(current(page))
    press(page, "e")
    page.keyboard.type("a toy?")
    page.keyboard.press("Enter")
    expect(page.locator("#panel")).not_to_have_attribute("data-review", seen[-1])
    for _ in range(3):
        press(page, "a")
    expect(page.locator("#finished h1")).to_be_visible()
    expect(page.locator("#finished h1")).to_be_focused()
    sent(page)

    made = Decision.objects.order_by("sequence")
    assert [row.verdict for row in made] == [
        "approve",
        "reject",
        "reject",
        "reject",
        "escalate",
    ] + ["approve"] * 3
    assert [row.categories for row in made[1:4]] == [
        ["violence.graphic"],
        ["violence.weapons"],
        ["gambling"],
    ]
    assert made[4].note == "a toy?"
    names = [row.uuid for row in made]
    assert names == sorted(names), "the script names them in the order of time"
    assert {name.version for name in names} == {7}
    assert len(set(seen)) == 6
    assert Review.objects.get(uuid=seen[4]).status == "pending"
    assert Exposure.objects.get(user=moderator).images == 9


def test_shift_selects_several_categories(
    page_of: PageOf, moderator: User, waiting: list[Review]
) -> None:
    page = page_of(moderator)
    begin(page)
    press(page, "r", "v", "Shift+Digit1", "a", "Shift+Digit2", "Enter")
    sent(page)

    assert Decision.objects.get().categories == ["alcohol.beverages", "violence.graphic"]


def test_verdicts_made_offline_are_stored_and_sent_once_when_online(
    page_of: PageOf, moderator: User, waiting: list[Review], faults: list[str]
) -> None:
    page = page_of(moderator)
    begin(page)
    page.context.set_offline(True)
    for _ in range(3):
        press(page, "a")
    expect(page.locator("#unsent")).to_contain_text("3 unsent")
    assert verdicts() == []

    # A new window sends them too, once there is a connection.
    page.context.set_offline(False)
    other = page.context.new_page()
    other.goto(page.url)
    sent(other)
    sent(page)
    expect(page.locator("#unsent")).to_be_hidden()
    expect(page.locator("#live")).to_have_text("Sent.")
    assert [verdict for _, verdict in verdicts()] == ["approve"] * 3
    assert len({review for review, _ in verdicts()}) == 3
    faults[:] = [fault for fault in faults if "ERR_INTERNET_DISCONNECTED" not in fault]


def test_refused_verdict_shows_its_image_again_with_the_reason(
    page_of: PageOf, moderator: User, senior: User, waiting: list[Review], faults: list[str]
) -> None:
    page = page_of(moderator)
    begin(page)
    quiet(page)
    review = Review.objects.get(uuid=current(page))
    claims.release(user=moderator, uuids=[review.uuid])
    decisions.claim(review=review, user=senior)

    press(page, "a")

    expect(page.locator("#panel [role=alert]")).to_contain_text("senior has taken this review")
    assert current(page) == str(review.uuid)
    assert Decision.objects.count() == 0
    assert ahead(page) >= 5, "the image that had come on screen waits its turn"
    faults[:] = [fault for fault in faults if "409" not in fault]


def test_undo_reverses_a_sent_decision_and_reclaims_its_review(
    page_of: PageOf, moderator: User, waiting: list[Review]
) -> None:
    page = page_of(moderator)
    begin(page)
    first = current(page)
    press(page, "a")
    sent(page)
    expect(page.locator("[data-undo-left]").first).to_have_text(re.compile(r"^(10:00|9:\d\d)$"))
    press(page, "u")
    expect(page.locator("#panel")).to_have_attribute("data-review", first)
    assert [verdict for _, verdict in verdicts()] == ["approve", "reopen"]
    assert Review.objects.get(uuid=first).is_held_by(moderator)


def test_leaving_the_desk_releases_the_prefetched_reviews(
    page_of: PageOf, moderator: User, waiting: list[Review]
) -> None:
    page = page_of(moderator)
    begin(page)
    held = current(page)
    page.goto("/")

    def held_reviews() -> list[str]:
        return [str(review.uuid) for review in Review.objects.held_by(moderator)]

    eventually(page, lambda: held_reviews() in ([held], []))


def test_reviews_claimed_in_another_window_are_decided_before_the_queue_ends(
    page_of: PageOf, moderator: User, waiting: list[Review]
) -> None:
    """A browser that crashes releases no claims."""
    for review in waiting[:3]:
        assert review.claim_for(moderator)
    page = page_of(moderator)
    begin(page)

    for _ in waiting:
        press(page, "a")
        page.keyboard.press("a")  # while the next image loads, this decides nothing twice
        expect(page.locator("#panel[data-waiting]")).to_have_count(0)

    expect(page.locator("#finished")).to_be_visible()
    sent(page)
    assert sorted(verdicts()) == sorted((str(review.uuid), "approve") for review in waiting)


def test_continue_with_mine_visits_every_claimed_review(
    page_of: PageOf, moderator: User, waiting: list[Review]
) -> None:
    for review in waiting[:3]:
        assert review.claim_for(moderator)
    page = page_of(moderator)
    page.goto("/")
    page.keyboard.press("m")
    expect(page).to_have_url(re.compile(r"/reviews/[0-9a-f-]{36}/"))
    filled(page)

    for left in (2, 1, 0):
        press(page, "a")
        sent(page)
        expect(page.locator("#panel[data-waiting]")).to_have_count(0)
        if left:
            expect(page.locator(f"#deck[data-ahead='{left - 1}']")).to_have_count(1)

    expect(page.locator("#finished")).to_be_visible()
    sent(page)
    assert {uuid for uuid, _ in verdicts()} == {str(review.uuid) for review in waiting[:3]}


def test_rejection_without_a_category_is_not_sent(
    page_of: PageOf, moderator: User, waiting: list[Review]
) -> None:
    page = page_of(moderator)
    begin(page)
    shown = current(page)

    press(page, "r")
    expect(page.locator("#chooser")).to_have_attribute("open", "")
    page.wait_for_timeout(400)
    page.keyboard.press("r")

    said = "Choose what the image shows: a rejection names at least one category."
    expect(page.locator("#live")).to_have_text(said)
    expect(page.locator("[data-feedback]")).to_have_text(said)
    assert current(page) == shown
    expect(page.locator("#deck")).to_have_attribute("data-unsent", "0")
    assert verdicts() == []


def test_repeated_press_of_a_key_decides_one_image(
    page_of: PageOf, moderator: User, waiting: list[Review]
) -> None:
    page = page_of(moderator)
    begin(page)
    settle(page)
    # In one JavaScript task, so that a slow machine does not spread the presses over time.
    page.evaluate(
        "() => { for (let press = 0; press < 3; press++) document.body.dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'a', bubbles: true, cancelable: true})); }"
    )
    sent(page)

    assert len(verdicts()) == 1
    expect(page.locator("#live")).to_have_text("Too quick: nothing was decided.")


def test_desk_session_logs_no_errors_to_the_console(
    page_of: PageOf,
    moderator: User,
    waiting: list[Review],
    make_request: Callable[..., Any],
    make_review: Make,
) -> None:
    """``page_of`` asserts that scripts, htmx and the content security policy report no error."""
    request = make_request(image_num=2)
    for position in (0, 1):
        make_review(source="txt2img", request=request, position=position)
    page = page_of(moderator)
    page.goto("/")
    page.evaluate(
        "htmx.ajax('GET', '/', {source: document.querySelector('[hx-swap=none]'), swap: 'none'})"
    )
    begin(page)
    page.evaluate(
        "htmx.ajax('GET', document.querySelector('#sidebar').getAttribute('hx-get'), '#sidebar')"
    )
    # First an image of the queue: enlarge, decide, undo. Then the two images of a request:
    # enlarge while switching between them.
    for keys in (["b"], ["+", "Shift+ArrowLeft", "z", "x", "g"], ["a"], ["u"], ["s"]):
        press(page, *keys)
        page.wait_for_timeout(150)
    sent(page)
    page.goto(f"/reviews/{Review.objects.get(asset__request=request, asset__position=0).uuid}/")
    for keys in (["b"], ["+", "+"], ["j"], ["b"], ["+"], ["k"], ["?", "Escape"]):
        press(page, *keys)
        page.wait_for_timeout(150)
    assert page.locator("[style]").count() == 0, (
        "whoever copies a style attribute offends the policy"
    )


def test_hotkeys_are_listed_and_can_be_switched_off(
    page_of: PageOf, moderator: User, waiting: list[Review]
) -> None:
    page = page_of(moderator)
    begin(page)
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    for words in ("Approve", "Reject", "Escalate", "Skip", "Undo my last decision", "Reveal"):
        expect(page.locator("#keys")).to_contain_text(words)
    page.keyboard.press("Escape")
    Preferences.objects.create(user=moderator, hotkeys=False)
    page.reload()
    press(page, "a")
    page.wait_for_timeout(200)
    assert verdicts() == []


def test_draft_note_and_filmstrip_survive_a_visit_to_a_sibling(
    page_of: PageOf, moderator: User, make_review: Make, make_request: Callable[..., Any]
) -> None:
    request = make_request(image_num=3)
    for position in range(3):
        make_review(source=Source.TXT2IMG, request=request, position=position)
    page = page_of(moderator)
    begin(page)
    page.keyboard.press("n")
    page.keyboard.type("Is this a toy?")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    expect(page.locator("#subject")).to_contain_text("Image 2")
    page.keyboard.press("k")
    expect(page.locator("#subject")).to_contain_text("Image 1")
    expect(page.locator("#note")).to_have_value("Is this a toy?")

    settle(page)
    press(page, "a")
    expect(page.locator("#subject")).to_contain_text("Image 2")
    expect(page.locator(".filmstrip .badge").first).to_have_attribute("data-status", "approved")
    press(page, "u")
    expect(page.locator("#subject")).to_contain_text("Image 1")
    expect(page.locator(".filmstrip .badge").first).to_have_attribute("data-status", "pending")


def test_own_keys_decide_and_are_listed(
    page_of: PageOf, moderator: User, waiting: list[Review]
) -> None:
    Preferences.objects.create(user=moderator, own_keys={"approve": "q", "note": "a"})
    page = page_of(moderator)
    begin(page)
    shown = current(page)

    press(page, "?")
    row = page.locator("#keys li", has_text=re.compile(r"^Approve\s*Q$"))
    expect(row).to_have_count(1)
    page.keyboard.press("Escape")
    press(page, "q")
    sent(page)

    assert verdicts() == [(shown, "approve")]
