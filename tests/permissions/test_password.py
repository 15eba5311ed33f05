"""The page on which people change their own password."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from tests.conftest import PASSWORD

PAGE = "/password/"
NEW = "staple battery horse correct"


def make_form_data(old: str = PASSWORD, new: str = NEW, again: str = NEW) -> dict[str, str]:
    return {"old_password": old, "new_password1": new, "new_password2": again}


def log_in(user: User) -> Client:
    browser = Client()
    assert (
        browser.post("/login/", {"username": user.username, "password": PASSWORD}).status_code
        == 302
    )
    return browser


def test_password_change_ends_other_sessions(moderator: User) -> None:
    here, elsewhere = log_in(moderator), log_in(moderator)
    assert f'href="{PAGE}"' in here.get("/").content.decode()
    assert here.get(PAGE).status_code == 200

    answer = here.post(PAGE, make_form_data(), follow=True)
    assert answer.redirect_chain == [(reverse("preferences"), 302)]
    assert "Password changed. All your other sessions have ended." in answer.content.decode()
    assert here.get("/").status_code == 200
    assert elsewhere.get("/").headers["Location"].startswith("/login/")
    moderator.refresh_from_db()
    assert moderator.check_password(NEW)


def test_words_of_the_installation_may_be_part_of_a_long_password(
    settings: Any, client_of: Callable[[User], Client], moderator: User
) -> None:
    settings.PUBLIC_URL = "https://desk.house-of-ada.example"
    client = client_of(moderator)
    short, long = "house-of-ada-1", "loupe battery staple"
    refused = client.post(PAGE, make_form_data(new=short, again=short))
    assert "little more than a name" in refused.text
    assert client.post(PAGE, make_form_data(new=long, again=long)).status_code == 302


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        (make_form_data(old="wrong"), "Your old password was entered incorrectly"),
        (make_form_data(again="something else"), "didn’t match"),
        (make_form_data(new="short", again="short"), "too short"),
        (make_form_data(new="Loupe-2026!", again="Loupe-2026!"), "little more than a name"),
        (make_form_data(new="moderator1", again="moderator1"), "little more than a name"),
    ],
)
def test_invalid_password_form_returns_422_and_keeps_password(
    client_of: Callable[[User], Client], moderator: User, sent: dict[str, str], problem: str
) -> None:
    answer = client_of(moderator).post(PAGE, sent)

    assert answer.status_code == 422
    page = answer.content.decode()
    assert problem in page
    assert all(f'value="{value}"' not in page for value in sent.values())
    moderator.refresh_from_db()
    assert moderator.check_password(PASSWORD)


@pytest.mark.django_db
def test_anonymous_user_is_redirected_to_login() -> None:
    assert Client().get(PAGE).headers["Location"] == f"/login/?next={PAGE}"
