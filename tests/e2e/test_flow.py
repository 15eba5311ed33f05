"""The demo's main flow in a real browser: request, review, export."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.browser.actions import settle
from tests.e2e.conftest import PASSWORD, Stack

# One stack serves all tests of this folder, also when the suite runs in several processes.
pytestmark = pytest.mark.xdist_group("stack")

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def page(browser_path: str, stack: Stack) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=FLAGS)
        page = browser.new_page(base_url=stack.url, viewport={"width": 1440, "height": 900})
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "console",
            lambda message: faults.append(message.text) if message.type == "error" else None,
        )
        yield page
        browser.close()
        assert [fault for fault in faults if "409" not in fault] == []


def log_in(page: Page, name: str) -> None:
    page.goto("/")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/$"))


def test_image_is_requested_reviewed_and_exported(page: Page, stack: Stack) -> None:
    log_in(page, "senior")
    _ask_for_an_image_and_watch_it_finish(page)
    _review(page, stack)
    _download(page, stack)


def _ask_for_an_image_and_watch_it_finish(page: Page) -> None:
    page.goto("/requests/new/")
    page.get_by_label("Prompt", exact=True).fill("a wine glass by the window, still life")
    page.get_by_label("Images", exact=True).fill("2")
    page.get_by_role("button", name="Send").click()
    expect(page).to_have_url(re.compile(r"/requests/[0-9a-f-]{36}/$"))
    # The page must update without a reload.
    expect(page.locator("[data-status='succeeded']").first).to_be_visible()


def _review(page: Page, stack: Stack) -> None:
    page.goto("/queues/waiting/")
    page.get_by_role("button", name="Start reviewing").click()
    expect(page).to_have_url(re.compile(r"/reviews/[0-9a-f-]{36}/"))
    page.wait_for_load_state()  # a key pressed before the script has loaded has no effect
    first = page.url.split("?")[0]
    assert page.locator("img[src*='/file']").count() == 0, (
        "the image is sent before somebody asks for it"
    )
    page.keyboard.press("b")
    expect(page.locator("img[src*='/file']").first).to_be_visible()

    settle(page)
    page.keyboard.press("r")
    page.keyboard.press("v")
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    expect(page).not_to_have_url(re.compile(re.escape(first)))
    second = page.url.split("?")[0]
    # The next image is on screen before the verdict is sent.
    made = "select verdict, categories from moderation_decision where not by_policy"
    stack.wait_for(lambda: bool(stack.rows(made)), what="the verdict")
    assert stack.rows(made) == [("reject", '["violence.weapons"]')]

    settle(page)
    page.keyboard.press("a")
    expect(page).not_to_have_url(re.compile(re.escape(second)))
    page.keyboard.press("u")
    expect(page).to_have_url(re.compile(re.escape(second)))
    by_people = "select verdict from moderation_decision where not by_policy order by sequence"
    stack.wait_for(lambda: len(stack.rows(by_people)) >= 3, what="the undoing")
    assert [row[0] for row in stack.rows(by_people)] == ["reject", "approve", "reopen"]


def _download(page: Page, stack: Stack) -> None:
    page.goto("/decisions/?by=person")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="CSV").click()
    with open(waiting.value.path(), encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["verdict"] for row in rows] == ["reject", "approve", "reopen"]
    assert rows[0]["categories"] == "violence.weapons"
    assert {row["reviewer"] for row in rows} == {"senior"}
