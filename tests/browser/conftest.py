"""A real browser with a logged-in user, connected to pytest-django's live server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, Page, sync_playwright

from moderation.models import Review

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser(browser_path: str) -> Iterator[Browser]:
    """Start one browser for all tests of a file.

    The scope is not the session, because other tests of this process need a thread without an
    event loop.
    """
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Playwright's event loop runs in this thread, so Django would refuse the queries of the
        # tests as asynchronous ones.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.launch(executable_path=browser_path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def faults() -> list[str]:
    """Collect the errors of all pages. A test that provokes an error removes it from the list."""
    return []


@pytest.fixture
def page_of(browser: Browser, live_server: Any, faults: list[str]) -> Iterator[Callable[..., Page]]:
    """Open a page as a given user. Fail the test at its end if a page reported an error."""

    def page(user: User, **options: Any) -> Page:
        client = Client()
        client.force_login(user)
        context = browser.new_context(
            **{"base_url": live_server.url, "viewport": {"width": 1440, "height": 900}, **options}
        )
        cookie = client.cookies[settings.SESSION_COOKIE_NAME]
        context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": live_server.url}])
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "console",
            lambda message: faults.append(message.text) if message.type == "error" else None,
        )
        return page

    yield page
    for context in browser.contexts:
        context.close()
    assert faults == []


@pytest.fixture
def waiting(make_review: Callable[..., Review]) -> list[Review]:
    return [make_review() for _ in range(9)]
