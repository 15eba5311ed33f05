"""Log-in by password: limits, sessions, and a new password by mail."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import caches
from django.test import Client
from django.utils import timezone

from config.middleware import ActivityMiddleware
from moderation.services import browser_sessions
from tests.conftest import PASSWORD
from tests.moderation.page_helpers import ClientOf

pytestmark = pytest.mark.django_db
NEW = "another horse battery"


def enter(name: str, password: str, address: str = "192.0.2.1", **data: str) -> Any:
    client = Client(headers={"X-Forwarded-For": address})
    return client.post("/login/", {"username": name, "password": password, **data})


def is_logged_in(client: Client) -> bool:
    return bool(client.get("/sessions/").status_code == 200)


# --- Limits ---


def test_wrong_passwords_lock_a_name_at_one_address_only(senior: User, moderator: User) -> None:
    answers = [enter("senior", "wrong") for _ in range(6)]
    assert answers[-1].status_code == 429
    assert answers[-1]["Retry-After"] == "900"
    assert enter("senior", PASSWORD).status_code == 429
    assert enter("senior", PASSWORD, "192.0.2.2").status_code == 302
    assert enter("moderator", PASSWORD).status_code == 302


def test_one_address_cannot_try_many_names(senior: User, settings: Any) -> None:
    settings.LOGIN_FAILURES_PER_ADDRESS = 8
    settings.ACCOUNT_RATE_LIMITS = False
    for number in range(8):
        assert enter(f"name{number}", "Spring2026!").status_code == 200
    assert enter("senior", PASSWORD).status_code == 429
    assert enter("senior", PASSWORD, "192.0.2.2").status_code == 302


def test_forty_people_of_one_office_log_in_within_a_minute(senior: User) -> None:
    assert {enter("senior", PASSWORD).status_code for _ in range(40)} == {302}


def test_many_posts_in_a_minute_get_429_with_retry_after() -> None:
    answers = [enter("", "") for _ in range(121)]
    assert [answer.status_code for answer in answers[-2:]] == [200, 429]
    assert answers[-1]["Retry-After"] == "60"


def test_limits_are_counted_in_the_shared_cache(settings: Any) -> None:
    shared = {**settings.CACHES}
    shared["default"] = {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "cache_entry",
    }
    settings.CACHES = shared
    enter("", "")
    assert caches["default"].get("none", 1) == 1
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT cache_key FROM cache_entry")
        keys = [row[0] for row in cursor.fetchall()]
    assert any("allauth:rl:allauth.account:login" in key for key in keys)


def test_unknown_names_get_the_same_text(senior: User) -> None:
    texts = {
        re.sub(r'value="[^"]*"', "", enter(name, "wrong").text) for name in ("senior", "nobody")
    }
    assert len(texts) == 1


def test_next_page_is_one_of_ours(senior: User) -> None:
    assert enter("senior", PASSWORD, next="/queues/")["Location"] == "/queues/"
    assert enter("senior", PASSWORD, next="https://evil.example/")["Location"] == "/"


def test_nobody_can_sign_up() -> None:
    for path in ("/signup/", "/accounts/signup/", "/login/signup/", "/email/"):
        assert Client().get(path).status_code in {302, 404}
    assert Client().post("/signup/", {"username": "eve"}).status_code in {302, 404}
    assert not User.objects.exists()


# --- Sessions ---


def read_end(client: Client) -> datetime:
    return Session.objects.get(pk=client.session.session_key).expire_date


def test_session_ends_at_the_absolute_limit(
    client_of: ClientOf, senior: User, settings: Any
) -> None:
    settings.SESSION_HOURS, settings.SESSION_IDLE_MINUTES = 2, 0
    client = client_of(senior)
    session = client.session
    session[browser_sessions.STARTED_AT] -= 3600
    session.save()
    left = read_end(client) - timezone.now()
    assert timedelta(minutes=59) < left <= timedelta(hours=1)

    session[browser_sessions.STARTED_AT] -= 3700
    session.save()
    assert not is_logged_in(client)


def test_activity_moves_the_idle_limit_and_polls_do_not(
    client_of: ClientOf, senior: User, settings: Any
) -> None:
    settings.SESSION_IDLE_MINUTES = 30
    client = client_of(senior)
    assert read_end(client) - timezone.now() <= timedelta(minutes=35)
    soon = timezone.now() + timedelta(minutes=1)
    Session.objects.update(expire_date=soon)

    for path, headers in (("/live/", {}), ("/", {"X-Poll": "1"})):
        ActivityMiddleware.noted.clear()
        client.get(path, headers=headers)
        assert read_end(client) == soon
    ActivityMiddleware.noted.clear()
    client.get("/sessions/")
    assert read_end(client) > soon + timedelta(minutes=20)


def test_idle_limit_does_not_pass_the_absolute_one(settings: Any) -> None:
    settings.SESSION_HOURS, settings.SESSION_IDLE_MINUTES = 1, 600
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    end = browser_sessions.find_end(started_at=int(now.timestamp()) - 1800, now=now)
    assert end == now + timedelta(minutes=30)


def test_log_out_ends_the_session_and_clears_the_cache(client_of: ClientOf, senior: User) -> None:
    client = client_of(senior)
    answer = client.post("/logout/")
    assert answer["Clear-Site-Data"] == '"cache"'
    assert not Session.objects.exists()
    assert client.get("/logout/").status_code == 405


def test_deactivation_in_any_way_ends_sessions_for_good(client_of: ClientOf, senior: User) -> None:
    client = client_of(senior)
    senior.is_active = False
    senior.save()  # as the admin site does
    senior.is_active = True
    senior.save()
    assert not is_logged_in(client)


# --- A new password by mail ---


@pytest.fixture
def mail_server(settings: Any) -> None:
    settings.EMAIL_HOST = "mail.house.example"


def ask_for_link(address: str) -> Any:
    answer = Client().post("/password/forgotten/", {"email": address})
    for thread in threading.enumerate():
        if thread.name == "login-mail":
            thread.join(10)
    return answer


def test_link_by_mail_sets_a_password_once_and_ends_sessions(
    mail_server: None, client_of: ClientOf, senior: User, settings: Any
) -> None:
    settings.PUBLIC_URL = "https://loupe.example"
    User.objects.filter(pk=senior.pk).update(email="senior@house.example")
    session = client_of(senior)
    assert ask_for_link("Senior@House.example")["Location"] == "/password/forgotten/sent/"

    (sent,) = mail.outbox
    assert sent.to == ["senior@house.example"]
    assert not getattr(sent, "alternatives", [])
    link = re.search(r"https://loupe\.example(/password/forgotten/\S+)", sent.body)
    assert link is not None
    client = Client()
    form = client.get(link[1])["Location"]
    assert client.get(form).status_code == 200
    answer = client.post(form, {"password1": NEW, "password2": NEW})

    assert answer["Location"] == "/password/forgotten/done/"
    assert not is_logged_in(session)
    assert Client().get(link[1]).status_code == 410
    assert enter("senior", NEW).status_code == 302


def test_unknown_address_gets_the_same_answer_and_no_mail(mail_server: None, senior: User) -> None:
    User.objects.filter(pk=senior.pk).update(email="senior@house.example")
    answers = [ask_for_link(name) for name in ("senior@house.example", "x@house.example")]
    assert len({(answer.status_code, answer["Location"]) for answer in answers}) == 1
    assert len(mail.outbox) == 1


def test_account_of_the_identity_provider_gets_no_link(mail_server: None) -> None:
    User.objects.create_user("ada", email="ada@house.example")
    ask_for_link("ada@house.example")
    assert mail.outbox == []


def test_without_mail_server_the_page_names_the_operator() -> None:
    assert "a link with which you can set" in Client().get("/password/forgotten/").text
