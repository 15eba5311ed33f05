"""SAML 2.0 in Chromium: cookies and policies of a browser between two sites."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from allauth.socialaccount.models import SocialAccount
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from config.auth.saml_settings import build_saml_provider
from config.auth.sessions import SessionStore
from moderation.models import Invitation
from tests.config.auth.saml_provider import run_provider
from tests.config.auth.test_saml import SSO
from tests.log_ins import age_log_in


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_browser_logs_in_and_answers_a_question_after_a_form(
    page_of: Callable[..., Page], live_server: Any, operator: User, settings: Any, tmp_path: Path
) -> None:
    SocialAccount.objects.create(user=operator, provider="saml", uid="u1")
    operator.set_unusable_password()
    operator.save()
    settings.SSO = SSO
    page = page_of(operator)
    with run_provider(tmp_path) as provider:  # on 127.0.0.1, which is another site than localhost
        settings.SOCIALACCOUNT_PROVIDERS = build_saml_provider(
            f"{provider.url}/metadata", "House ID", settings.PUBLIC_URL
        )
        provider.service_metadata = httpx.get(
            f"{live_server.url}/saml/sso/metadata/", timeout=60
        ).text
        page.context.clear_cookies()
        page.goto("/login/?next=/team/")
        page.get_by_role("link", name="Log in with House ID").click()
        page.get_by_role("button", name="Continue").click()
        expect(page).to_have_url(f"{live_server.url}/team/")

        page.goto("/team/invitations/")
        _age_log_in(page)
        page.get_by_label("Moderator Decides image by image.", exact=True).check()
        page.get_by_role("button", name="Make the invitation").click()
        page.get_by_role("button", name="Continue").click()
        expect(page.locator(".one-time-link")).to_be_visible()
    assert Invitation.objects.count() == 1


def _age_log_in(page: Page) -> None:
    [key] = [
        cookie["value"]
        for cookie in page.context.cookies()
        if cookie["name"] == django_settings.SESSION_COOKIE_NAME
    ]
    age_log_in(SessionStore(key))
