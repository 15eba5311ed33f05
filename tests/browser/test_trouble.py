"""The desk during faults: no connection, a server that does not respond, an expired session.

Also covers keys that have no effect.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from playwright.sync_api import Page, Route, expect

from moderation.models import Decision, Preferences, Review, Verdict
from moderation.services import claims, decisions
from tests.browser.actions import (
    PageOf,
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
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db(transaction=True)
Make = Callable[..., Review]
DECISIONS = re.compile(r"/reviews/[0-9a-f-]{36}/decisions/$")


def leave_unsent(page: Page, count: int) -> list[str]:
    """Decide without a connection, close the window and return the UUIDs of the reviews."""
    begin(page)
    quiet(page)
    page.context.set_offline(True)
    decided = []
    for _ in range(count):
        decided.append(current(page))
        press(page, "a")
    expect(page.locator("#unsent")).to_contain_text(f"{count} unsent")
    page.goto("about:blank")  # a window that is closed is online for a moment, and might send
    page.close()
    return decided


def kept(page: Page) -> int:
    return int(
        page.evaluate(
            "Object.keys(localStorage).filter(key => key.startsWith('loupe.unsent.')).length"
        )
    )


def log_in_as(page: Page, user: User) -> None:
    client = Client()
    client.force_login(user)
    cookie = client.cookies[settings.SESSION_COOKIE_NAME]
    url = page.evaluate("location.origin")
    page.context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": url}])


def forgive(faults: list[str], *expected: str) -> None:
    """Remove the console errors of a lost connection and the other expected errors."""
    known = ("ERR_INTERNET_DISCONNECTED", "htmx:sendError", "htmx:afterRequest", *expected)
    faults[:] = [fault for fault in faults if not any(words in fault for words in known)]


# --- Unsent decisions ---
def test_unsent_decisions_of_a_closed_window_are_sent_from_another_page(
    page_of: PageOf, moderator: User, waiting: list[Review], faults: list[str]
) -> None:
    page = page_of(moderator)
    context = page.context
    decided = leave_unsent(page, 2)
    assert verdicts() == []
    context.set_offline(False)
    other = context.new_page()

    other.goto("/")

    expect(other.locator("#outbox")).to_contain_text("2 decisions sent")
    assert verdicts() == [(review, "approve") for review in decided]
    assert kept(other) == 0
    other.goto("/queues/")
    expect(other.locator("#outbox")).to_be_hidden()
    forgive(faults)


def test_unsent_decisions_are_sent_only_by_their_own_user(
    page_of: PageOf,
    moderator: User,
    other_moderator: User,
    waiting: list[Review],
    faults: list[str],
) -> None:
    page = page_of(moderator)
    context = page.context
    decided = leave_unsent(page, 1)
    context.set_offline(False)
    other = context.new_page()
    other.goto("/healthz")
    log_in_as(other, other_moderator)

    other.goto("/queues/")
    other.wait_for_load_state("networkidle")

    expect(other.locator("#outbox")).to_be_hidden()
    assert verdicts() == []
    assert kept(other) == 1
    log_in_as(other, moderator)
    other.reload()
    expect(other.locator("#outbox")).to_contain_text("1 decision sent")
    assert verdicts() == [(decided[0], "approve")]
    assert Decision.objects.get().reviewer == moderator
    forgive(faults)


def test_unsent_decisions_are_shown_with_a_send_button_after_a_server_error(
    page_of: PageOf, moderator: User, waiting: list[Review], faults: list[str]
) -> None:
    page = page_of(moderator)
    context = page.context
    leave_unsent(page, 2)
    context.set_offline(False)
    context.route(DECISIONS, lambda route: route.fulfill(status=503, body="down"))
    other = context.new_page()

    other.goto("/decisions/")

    expect(other.locator("#outbox")).to_contain_text("2 unsent decisions. The server has a fault.")
    assert kept(other) == 2
    context.unroute(DECISIONS)
    other.get_by_role("button", name="Send now").click()
    expect(other.locator("#outbox")).to_contain_text("2 decisions sent")
    assert len(verdicts()) == 2
    forgive(faults, "503")


@pytest.mark.parametrize("is_lagging", [False, True], ids=["shared storage", "lagging storage"])
def test_two_windows_send_each_unsent_decision_once(
    is_lagging: bool,
    page_of: PageOf,
    moderator: User,
    waiting: list[Review],
    faults: list[str],
) -> None:
    page = page_of(moderator)
    context = page.context
    # The delayed request may take longer than the script's timeout.
    context.add_init_script("AbortSignal.timeout = () => new AbortController().signal")
    leave_unsent(page, 3)
    context.set_offline(False)
    held: list[Route] = []
    posted: list[str] = []
    context.route(DECISIONS, lambda route: route.continue_() if held else held.append(route))
    context.on(
        "request",
        lambda request: posted.append(request.url) if DECISIONS.search(request.url) else None,
    )
    first, second = context.new_page(), context.new_page()
    if is_lagging:
        # The second window does not see in the storage that the first one has sent them.
        first.add_init_script("Storage.prototype.removeItem = () => {}")
    first.goto("/")
    eventually(first, lambda: held)

    second.goto("/")
    expect(second.locator("#outbox")).to_contain_text("3 unsent decisions: sending…")
    assert len(posted) == 1, "the second window waits for its turn"
    held[0].continue_()

    expect(first.locator("#outbox")).to_contain_text("3 decisions sent")
    expect(second.locator("#outbox")).to_be_hidden()
    assert len(posted) == 3
    assert len(verdicts()) == 3
    forgive(faults)


def test_refused_unsent_decision_is_listed_with_its_image_and_the_reason(
    page_of: PageOf, moderator: User, senior: User, waiting: list[Review], faults: list[str]
) -> None:
    page = page_of(moderator)
    context = page.context
    (uuid,) = leave_unsent(page, 1)
    review = Review.objects.get(uuid=uuid)
    claims.release(user=moderator, uuids=[review.uuid])
    decisions.claim(review=review, user=senior)
    decisions.decide(review=review, user=senior, verdict=Verdict.REJECT, categories=["gambling"])
    context.set_offline(False)
    other = context.new_page()

    other.goto("/queues/")

    row = other.locator("#outbox li")
    expect(row).to_contain_text("Already rejected (Gambling) by senior")
    expect(row.get_by_role("link")).to_have_attribute("href", f"/reviews/{uuid}/")
    assert kept(other) == 0
    assert Decision.objects.count() == 1
    forgive(faults, "409")


def test_empty_deck_without_a_connection_shows_a_message_in_the_viewer(
    page_of: PageOf, moderator: User, waiting: list[Review], faults: list[str]
) -> None:
    page = page_of(moderator)
    begin(page)
    page.context.set_offline(True)
    for _ in range(6):
        press(page, "a")

    expect(page.locator("[data-on-the-way]")).to_contain_text(
        "No connection, and no image is left here. 6 unsent"
    )
    page.context.set_offline(False)
    sent(page)
    expect(page.locator("#panel[data-waiting]")).to_have_count(0)
    expect(page.locator("[data-on-the-way]")).to_be_hidden()
    assert len(verdicts()) == 6
    forgive(faults)


# --- A server that does not respond ---
def test_unresponsive_server_shows_the_unsent_verdicts_after_a_second(
    page_of: PageOf, moderator: User, waiting: list[Review], faults: list[str]
) -> None:
    page = page_of(moderator)
    page.clock.install()
    begin(page)
    first = current(page)
    held: list[Route] = []
    page.route(DECISIONS, lambda route: held.append(route))
    settle(page)
    page.keyboard.press("a")
    expect(page.locator("#panel")).not_to_have_attribute("data-review", first)

    page.clock.run_for(1100)
    expect(page.locator("#unsent")).to_have_text(re.compile(r"1\s+unsent, sending…"))
    expect(page.locator("#live")).to_contain_text("is not recorded yet")
    settle(page)
    page.keyboard.press("s")
    expect(page.locator("#unsent")).to_have_text(re.compile(r"2\s+unsent, sending…"))
    page.clock.run_for(10_000)
    expect(page.locator("#unsent")).to_contain_text("2 unsent, the server does not answer")

    page.unroute(DECISIONS)
    page.clock.run_for(2000)
    expect(page.locator("#unsent")).to_be_hidden()
    expect(page.locator("#live")).to_have_text("Sent.")
    assert verdicts() == [(first, "approve")]
    forgive(faults, "ERR_FAILED", "ERR_ABORTED")


# --- An expired session ---
def test_login_page_explains_the_expired_session_ignores_keys_and_returns_to_the_image(
    page_of: PageOf, moderator: User, waiting: list[Review], faults: list[str]
) -> None:
    page = page_of(moderator)
    begin(page)
    first, second = current(page), following(page)
    Session.objects.all().delete()
    press(page, "a")

    expect(page).to_have_url(re.compile("/login/"))
    expect(page.get_by_text("You were signed out.")).to_be_visible()
    expect(page.locator("#signed-out")).to_contain_text("1 unsent decision is kept in this browser")
    expect(page.locator("h1")).to_be_focused()
    page.keyboard.press("a")
    expect(page.get_by_label("User name")).to_have_value("")

    page.get_by_label("User name").fill("moderator")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()
    expect(page).to_have_url(re.compile(f"/reviews/{second}/"))
    sent(page)
    assert verdicts() == [(first, "approve")]
    forgive(faults, "40")


def test_login_page_shows_no_expiry_message_after_a_log_out(
    page_of: PageOf, moderator: User
) -> None:
    page = page_of(moderator)
    page.goto("/")
    page.locator(".person > summary").click()
    page.get_by_role("button", name="Log out").click()
    page.goto("/login/")

    expect(page.locator("#signed-out")).to_be_hidden()
    expect(page.get_by_label("User name")).to_be_focused()


# --- Keys without effect ---
def escalate_twice(make_review: Make, senior: User) -> None:
    """Give two images to the policy leads."""
    for _ in range(2):
        review = make_review()
        for _ in range(2):
            decisions.claim(review=review, user=senior)
            decisions.decide(review=review, user=senior, verdict=Verdict.ESCALATE, note="unsure")


def test_third_escalation_is_refused_with_a_reason_and_typing_fills_the_note(
    page_of: PageOf, senior: User, lead: User, make_review: Make
) -> None:
    escalate_twice(make_review, senior)
    page = page_of(lead)
    page.goto("/queues/lead/")
    page.get_by_role("button", name="Start reviewing").first.click()
    filled(page)
    shown = current(page)

    press(page, "e")
    page.keyboard.type("sure, as seen")

    expect(page.locator("[data-feedback]")).to_contain_text("already with the policy leads")
    expect(page.locator("#live")).to_contain_text("already with the policy leads")
    expect(page.locator("#note")).to_have_value("sure, as seen")
    assert current(page) == shown
    assert Decision.objects.count() == 4
    page.keyboard.press("Escape")
    press(page, "a")
    sent(page)
    assert Review.objects.get(uuid=shown).status == "approved"


def test_third_escalation_of_a_sheet_is_refused_with_a_reason_and_typing_runs_no_commands(
    page_of: PageOf, senior: User, lead: User, make_review: Make
) -> None:
    escalate_twice(make_review, senior)
    page = page_of(lead)
    page.goto("/queues/lead/")
    page.get_by_role("button", name="Contact sheet").click()
    page.wait_for_url("**/sheet/**")
    page.wait_for_load_state("networkidle")
    page.keyboard.press("*")

    page.keyboard.press("e")
    page.keyboard.type("sure, as seen")

    expect(page.locator("#unavailable")).to_contain_text("already with the policy leads")
    expect(page.locator("#tiles .tile")).to_have_count(2)
    expect(page.locator("#confirm")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(page.locator("#unavailable")).to_be_hidden()
    assert Decision.objects.count() == 4


def test_ineffective_key_and_missing_reason_are_reported_beside_the_image(
    page_of: PageOf, moderator: User, waiting: list[Review]
) -> None:
    page = page_of(moderator)
    begin(page)
    shown = current(page)

    press(page, "q")
    expect(page.locator("[data-feedback]")).to_contain_text("“Q” does nothing here now")
    expect(page.locator("body")).not_to_have_attribute("data-typing", "")
    page.keyboard.press("e")
    page.keyboard.press("Enter")

    expect(page.locator("[data-feedback]")).to_contain_text("Write a reason for the senior")
    expect(page.locator("[data-feedback]")).to_be_in_viewport()
    assert current(page) == shown
    assert verdicts() == []


def test_typed_text_runs_no_commands_and_quick_verdicts_are_not_held_up(
    page_of: PageOf, moderator: User, waiting: list[Review]
) -> None:
    page = page_of(moderator)
    begin(page)
    shown = current(page)

    settle(page)
    page.keyboard.type("quite a dear sea bed")

    expect(page.locator("[data-feedback]")).to_contain_text("Typed text does nothing here")
    assert current(page) == shown
    expect(page.locator("#note")).not_to_be_focused()
    expect(page.locator("body")).not_to_have_attribute("data-typing", "")
    for _ in range(3):
        press(page, "a")
    sent(page)
    assert [verdict for _, verdict in verdicts()] == ["approve"] * 3


def test_hotkeys_taken_over_by_open_categories_are_marked_until_they_close(
    page_of: PageOf, moderator: User, waiting: list[Review]
) -> None:
    page = page_of(moderator)
    begin(page)
    approve = page.locator("#verdicts [data-verdict=approve]")
    expect(approve).to_have_attribute("aria-keyshortcuts", "A")

    press(page, "r")

    expect(approve).to_have_attribute("data-key-lost", "")
    expect(approve).to_have_attribute("title", re.compile("letters and digits choose them"))
    expect(approve).not_to_have_attribute("aria-keyshortcuts", "A")
    lost = page.locator("[data-key-lost]").evaluate_all("all => all.map(one => one.dataset.hotkey)")
    assert {"a", "e", "d", "s", "u", "n", "b", "g"} <= set(lost)
    assert {"r", "?", "/"}.isdisjoint(lost)
    page.keyboard.press("e")
    expect(page.locator("[data-feedback]")).to_contain_text("while the categories are open")
    expect(page.locator("body")).not_to_have_attribute("data-typing", "")
    page.keyboard.press("a")
    expect(page.locator("#chooser summary", has_text="Alcohol")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("[data-key-lost]")).to_have_count(0)
    expect(approve).to_have_attribute("aria-keyshortcuts", "A")
    assert verdicts() == []


def test_own_counts_are_updated_before_the_verdict_is_sent(
    page_of: PageOf, moderator: User, waiting: list[Review]
) -> None:
    page = page_of(moderator)
    begin(page)
    count = page.locator("#sidebar-approve .num")
    expect(count).to_have_text("0")
    held: list[Route] = []
    page.route(DECISIONS, lambda route: held.append(route))

    press(page, "a")

    expect(count).to_have_text("1")
    assert verdicts() == []
    for route in held:
        route.continue_()
    page.unroute(DECISIONS)
    sent(page)


def test_announced_zoom_level_follows_the_zoom(
    page_of: PageOf, moderator: User, waiting: list[Review]
) -> None:
    Preferences.objects.create(user=moderator, blur=False)
    page = page_of(moderator)
    begin(page)
    page.keyboard.press("z")
    expect(page.locator("#live")).to_contain_text("Actual size")

    page.keyboard.press("+")

    percent = page.locator("[data-zoom-shown]").inner_text()
    expect(page.locator("#live")).to_have_text(f"Shown at {percent}.")
