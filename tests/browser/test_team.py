"""The team in a browser: invitation, first log-in, roles, deactivation; keys of an integrator."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Page, expect

PageOf = Callable[..., Page]
PASSWORD = "staple battery horse correct"

pytestmark = [pytest.mark.django_db(transaction=True)]


def test_operator_invites_changes_roles_and_deactivates(
    page_of: PageOf, browser: Browser, operator: User, faults: list[str]
) -> None:
    page = page_of(operator)
    page.goto("/team/")
    page.get_by_role("link", name="Invite somebody").click()
    page.get_by_label("Moderator Decides image by image.", exact=True).check()
    page.get_by_role("button", name="Make the invitation").click()
    link = page.locator(".one-time-link").inner_text()

    newcomer = browser.new_context(base_url=page.url).new_page()
    # The link begins with PUBLIC_URL, which is not the address of the test server.
    newcomer.goto("/invitations/" + link.split("/invitations/")[1])
    newcomer.get_by_label("User name").fill("ada")
    newcomer.get_by_label("Password", exact=True).fill(PASSWORD)
    newcomer.get_by_label("Password confirmation").fill(PASSWORD)
    newcomer.get_by_role("button", name="Make my account").click()
    expect(newcomer.get_by_role("heading", name="Waiting for a moderator")).to_be_visible()

    page.goto("/team/")
    page.get_by_role("link", name="ada", exact=True).click()
    page.get_by_label("Auditor Checks the record and changes nothing.").check()
    page.get_by_role("button", name="Save roles").click()
    expect(page.locator(".team-log")).to_contain_text("from moderator to moderator, auditor")

    page.get_by_text("Deactivate…").click()
    page.get_by_role("button", name="Deactivate ada").click()
    expect(page.get_by_role("button", name="Reactivate")).to_be_visible()
    newcomer.goto("/")
    expect(newcomer.get_by_role("button", name="Log in", exact=True)).to_be_visible()


def test_integrator_creates_replaces_and_revokes_a_key(page_of: PageOf, integrator: User) -> None:
    page = page_of(integrator)
    page.goto("/keys/")
    page.get_by_label("Name of the program").fill("shop")
    page.get_by_role("button", name="Create the key").click()
    first = page.locator("#key-text").inner_text()
    assert first.startswith("lp_")

    page.get_by_text("Change…").click()
    page.get_by_role("button", name="Replace the key").click()
    expect(page.locator("#key-text")).not_to_have_text(first)

    page.get_by_text("Change…").click()
    page.get_by_role("button", name="Revoke shop for good").click()
    expect(page.locator("tbody .badge")).to_have_text("Revoked")
