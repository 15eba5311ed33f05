"""Navigation by keyboard in a narrow window, and the scheme of pages and the admin site."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.django_db(transaction=True)
PageOf = Callable[..., Page]
IS_DARK = "getComputedStyle(document.body).color.match(/[0-9.]+/)[0] > 0.5"


def test_menu_of_a_narrow_window_works_by_keyboard(page_of: PageOf, moderator: User) -> None:
    page = page_of(moderator, viewport={"width": 1024, "height": 768})
    page.goto("/")
    menu = page.get_by_label("Menu", exact=True)
    links = page.get_by_role("navigation", name="Main").get_by_role("link")
    expect(links).to_have_count(0)

    menu.focus()
    page.keyboard.press("Enter")
    expect(links.first).to_be_visible()
    page.keyboard.press("Escape")
    expect(links).to_have_count(0)
    expect(menu).to_be_focused()

    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/queues/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Queues")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_pages_and_admin_follow_the_system_and_load_the_typeface(
    page_of: PageOf, admin: User, scheme: str
) -> None:
    page = page_of(admin, color_scheme=scheme)
    for address in ("/", "/admin/"):
        page.goto(address)
        assert page.evaluate(IS_DARK) == (scheme == "dark"), address
        page.wait_for_function("document.fonts.check('16px Inter')")
