"""Passkeys, codes and the question before exports, with a virtual authenticator of Chromium."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from playwright.sync_api import Page, expect

from config.auth.sessions import SessionStore
from tests.conftest import PASSWORD
from tests.log_ins import age_log_in

pytestmark = pytest.mark.django_db(transaction=True)
PageOf = Callable[..., Page]


@pytest.fixture
def add_authenticator() -> Callable[[Page], None]:
    """Return a function that gives a page a device with a fingerprint reader."""

    def add(page: Page) -> None:
        device = page.context.new_cdp_session(page)
        device.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        device.send("WebAuthn.addVirtualAuthenticator", {"options": options})

    return add


def test_passkey_is_added_logs_in_and_confirms(
    page_of: PageOf, senior: User, add_authenticator: Callable[[Page], None]
) -> None:
    page = page_of(senior)
    add_authenticator(page)
    page.goto("/factors/passkeys/new/")
    page.get_by_label("Name", exact=True).fill("Laptop")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    assert Authenticator.objects.filter(type="webauthn").count() == 1
    page.get_by_role("link", name="I have kept them").click()
    expect(page.get_by_text("Laptop")).to_be_visible()

    page.context.clear_cookies()
    page.goto("/login/?next=/sessions/")
    page.get_by_role("button", name="Log in with a passkey").click()
    expect(page.get_by_role("heading", name="Sessions")).to_be_visible()

    _age_log_ins()
    page.goto("/factors/recovery-codes/new/")
    expect(page.get_by_role("heading", name="Is it you?")).to_be_visible()
    page.get_by_role("link", name="Use a passkey").click()
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", name="New recovery codes")).to_be_visible()


def test_app_is_set_up_and_password_then_needs_a_code(page_of: PageOf, senior: User) -> None:
    page = page_of(senior)
    page.goto("/factors/")
    page.get_by_role("link", name="Set up an app").click()
    secret = page.get_by_label("Or type this secret into the app").input_value()
    assert page.locator("img.qr-code").evaluate("image => image.naturalWidth") > 0
    step = int(time.time()) // 30
    page.get_by_label("Code from the app").fill(format_hotp_value(hotp_value(secret, step)))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()

    page.context.clear_cookies()
    page.goto("/login/")
    page.get_by_label("User name").fill("senior")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Second factor")).to_be_visible()
    page.keyboard.type(format_hotp_value(hotp_value(secret, step + 1)))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).not_to_have_text("Second factor")
    page.goto("/sessions/")
    expect(page.get_by_text("This session")).to_be_visible()


def test_export_asks_by_keyboard_and_then_downloads(page_of: PageOf, senior: User) -> None:
    page = page_of(senior)
    page.goto("/decisions/")
    _age_log_ins()
    page.goto("/exports/decisions.csv")
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type(PASSWORD)
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename.endswith(".csv")
    expect(page.get_by_role("heading", name="Your download starts")).to_be_visible()


def _age_log_ins() -> None:
    for row in Session.objects.all():
        age_log_in(SessionStore(row.session_key))
