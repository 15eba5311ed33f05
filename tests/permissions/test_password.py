"""Everybody's own password."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from tests.conftest import PASSWORD

PAGE = "/password/"
NEW = "staple battery horse correct"


def data(old: str = PASSWORD, new: str = NEW, again: str = NEW) -> dict[str, str]:
    return {"old_password": old, "new_password1": new, "new_password2": again}


def logged_in(user: User) -> Client:
    browser = Client()
    assert (
        browser.post("/login/", {"username": user.username, "password": PASSWORD}).status_code
        == 302
    )
    return browser


def test_a_moderator_changes_their_password_and_other_sessions_end(moderator: User) -> None:
    here, elsewhere = logged_in(moderator), logged_in(moderator)
    assert f'href="{PAGE}"' in here.get("/").content.decode()
    assert here.get(PAGE).status_code == 200

    answer = here.post(PAGE, data(), follow=True)
    assert answer.redirect_chain == [(reverse("preferences"), 302)]
    assert "Password changed. All your other sessions have ended." in answer.content.decode()
    assert here.get("/").status_code == 200
    assert elsewhere.get("/").headers["Location"].startswith("/login/")
    moderator.refresh_from_db()
    assert moderator.check_password(NEW)


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        (data(old="wrong"), "Your old password was entered incorrectly"),
        (data(again="something else"), "didn’t match"),
        (data(new="short", again="short"), "too short"),
    ],
)
def test_a_wrong_form_changes_nothing_and_says_why(
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
def test_a_stranger_is_sent_to_the_log_in_page() -> None:
    assert Client().get(PAGE).headers["Location"] == f"/login/?next={PAGE}"
