from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.test import Client

pytestmark = pytest.mark.django_db


def test_expired_session_redirects_htmx_to_login_with_the_current_page_as_next() -> None:
    answer = Client().get(
        "/queues/waiting/",
        headers={
            "HX-Request": "true",
            "HX-Current-URL": "http://testserver/reviews/x/?queue=waiting",
        },
    )

    assert answer.status_code == 204
    assert answer["HX-Redirect"] == "/login/?next=%2Freviews%2Fx%2F%3Fqueue%3Dwaiting"
    assert Client().get("/queues/waiting/").status_code == 302


def test_pages_have_security_headers_and_are_not_cached() -> None:
    answer = Client().get("/login/")

    assert {"private", "no-store"} <= set(answer["Cache-Control"].replace(",", "").split())
    assert answer["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["X-Frame-Options"] == "DENY"
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert "unsafe" not in answer["Content-Security-Policy"]


def test_static_files_have_the_security_headers_of_pages() -> None:
    page = Client().get("/login/")
    file: Any = Client().get("/static/css/base.css")
    assert b"".join(file.streaming_content)

    for name in (
        "Content-Security-Policy",
        "Cross-Origin-Resource-Policy",
        "Cross-Origin-Opener-Policy",
        "Permissions-Policy",
        "Referrer-Policy",
        "X-Content-Type-Options",
        "X-Frame-Options",
    ):
        assert file[name] == page[name], name
    assert "camera=()" in file["Permissions-Policy"]


def test_failed_log_in_is_stored_without_query_string_and_form_data() -> None:
    for _ in range(2):
        Client().post(
            "/login/?token=in-the-address",
            {"username": "ada", "password": "x", "csrfmiddlewaretoken": "tok"},
        )

    attempt = AccessAttempt.objects.get()
    assert (attempt.username, attempt.failures_since_start) == ("ada", 2)
    stored = str(list(AccessAttempt.objects.values()))
    assert "in-the-address" not in stored
    assert "tok" not in stored


def test_invalid_hx_current_url_redirects_to_login_with_the_start_page_as_next() -> None:
    answer = Client().get("/queues/", headers={"HX-Request": "true", "HX-Current-URL": "http://["})

    assert answer["HX-Redirect"] == "/login/?next=%2F"


def test_tampered_session_is_not_logged_in(
    moderator: User, client_of: Callable[[User], Client]
) -> None:
    client = client_of(moderator)
    assert client.get("/").status_code == 200

    row = Session.objects.get()
    Session.objects.update(session_data=row.session_data[:-3] + "abc")

    assert client.get("/").status_code == 302
    Session.objects.update(session_data=row.session_data)
    assert client.get("/").status_code == 200
    Session.objects.all().delete()
    assert client.get("/").status_code == 302


def test_session_stays_valid_after_a_secret_key_rotation(
    moderator: User, client_of: Callable[[User], Client], settings: Any
) -> None:
    client = client_of(moderator)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = (
        "the-next-" + "n" * 50,
        [settings.SECRET_KEY],
    )
    assert client.get("/").status_code == 200

    settings.SECRET_KEY_FALLBACKS = []
    assert client.get("/").status_code == 200, "it has been signed with the new key meanwhile"
    assert client_of(moderator).get("/").status_code == 200


def test_revoked_permission_takes_effect_with_the_next_request(
    moderator: User, client_of: Callable[[User], Client]
) -> None:
    client = client_of(moderator)
    assert client.get("/decisions/").status_code == 200

    moderator.groups.clear()
    assert client.get("/decisions/").status_code == 403
    moderator.user_permissions.add(Permission.objects.get(codename="view_decision"))
    assert client.get("/decisions/").status_code == 200
    User.objects.update(is_active=False)
    assert client.get("/decisions/").status_code == 302
