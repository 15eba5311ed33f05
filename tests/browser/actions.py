"""What hands do at the desk, and what eyes wait for."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from moderation.models import Decision, Exposure, Review
from moderation.models.exposure import current_step

PageOf = Callable[..., Page]
Make = Callable[..., Review]


def begin(page: Page) -> None:
    page.goto("/queues/waiting/")
    page.get_by_role("button", name="Start reviewing").first.click()
    expect(page).to_have_url(re.compile(r"/reviews/[0-9a-f-]{36}/"))
    until(page, "typeof ahead !== 'undefined' && ahead.length > 0 && !isFilling")


def until(page: Page, condition: str) -> None:
    """Wait for an expression to become true. Playwright's own wait would evaluate a text, which the
    policy refuses.
    """
    for _ in range(300):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"waited in vain for {condition}")


def current(page: Page) -> str:
    return str(page.locator("#panel").get_attribute("data-review"))


def settle(page: Page) -> None:
    """Wait until the panel takes a verdict: a slow machine puts it together later than the
    image.
    """
    until(page, "!settling && performance.now() - shownAt > SETTLES")


def press(page: Page, *keys: str) -> None:
    settle(page)
    for key in keys:
        page.keyboard.press(key)


def sent(page: Page) -> None:
    until(page, "!unsent.length && !isSending")


def verdicts() -> list[tuple[str, str]]:
    rows = Decision.objects.order_by("sequence").select_related("review")
    return [(str(row.review.uuid), row.verdict) for row in rows]


def have_seen_much(user: User) -> None:
    """So much in the last minutes that a break is suggested."""
    Exposure.objects.create(user=user, started_at=current_step(), images=200)
