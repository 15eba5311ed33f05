"""Actions of a moderator at the desk, and waits for their results."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from moderation.models import Decision, Exposure, Review
from moderation.models.exposure import find_current_step

PageOf = Callable[..., Page]
FILLED = "#deck[data-ahead]:not([data-filling])"
Make = Callable[..., Review]


def begin(page: Page) -> None:
    page.goto("/queues/waiting/")
    page.get_by_role("button", name="Start reviewing").first.click()
    expect(page).to_have_url(re.compile(r"/reviews/[0-9a-f-]{36}/"))
    expect(page.locator(f"{FILLED}:not([data-ahead='0'])")).to_have_count(1)


def eventually(page: Page, condition: Callable[[], object]) -> None:
    """Wait for what the page makes the server do. Fails after a minute."""
    for _ in range(2400):
        if condition():
            return
        page.wait_for_timeout(25)
    raise AssertionError("nothing happened within a minute")


def current(page: Page) -> str:
    return str(page.locator("#panel").get_attribute("data-review"))


def settle(page: Page) -> None:
    """Wait until the panel accepts a verdict; on a slow machine it is ready after the image."""
    expect(page.locator("body")).to_have_attribute("data-settled", "")


def press(page: Page, *keys: str) -> None:
    settle(page)
    for key in keys:
        page.keyboard.press(key)


def sent(page: Page) -> None:
    expect(page.locator("#deck[data-unsent='0']:not([data-sending])")).to_have_count(1)


def filled(page: Page) -> None:
    expect(page.locator(FILLED)).to_have_count(1)


def quiet(page: Page) -> None:
    """Wait until no request is under way: a late renewal would claim again what a test releases."""
    page.wait_for_load_state("networkidle")


def ahead(page: Page) -> int:
    return int(page.locator("#deck").get_attribute("data-ahead") or 0)


def following(page: Page) -> str:
    return str(page.locator("#deck").get_attribute("data-next"))


def verdicts() -> list[tuple[str, str]]:
    rows = Decision.objects.order_by("sequence").select_related("review")
    return [(str(row.review.uuid), row.verdict) for row in rows]


def have_seen_much(user: User) -> None:
    """Record so many viewed images that a break is suggested."""
    Exposure.objects.create(user=user, started_at=find_current_step(), images=200)
