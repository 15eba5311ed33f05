"""Methods of log-ins, such as password and app: in the log, and in the list of sessions."""

from __future__ import annotations

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from django.test import Client

from tests.config.auth.test_second_factors import SECRET, make_code
from tests.conftest import PASSWORD
from tests.log_ins import age_log_in
from tests.moderation.page_helpers import ClientOf

pytestmark = pytest.mark.django_db


@pytest.fixture
def with_app(senior: User) -> User:
    Authenticator.objects.create(user=senior, type="totp", data={"secret": SECRET})
    return senior


def read_log(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "loupe.login"]


def test_sessions_and_log_name_the_factors(
    with_app: User, operator: User, client_of: ClientOf, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "loupe")
    client = Client()
    client.post("/login/", {"username": "senior", "password": PASSWORD})
    client.post("/login/code/", {"code": "000000"})
    client.post("/login/code/", {"code": make_code()})

    pk = with_app.pk
    assert read_log(caplog) == [
        f"Step of a log-in: account {pk}, by password",
        f"Refused: account {pk}, wrong code",
        f"Step of a log-in: account {pk}, by app",
        f"Logged in: account {pk}, by password, app",
    ]
    assert '<td class="secondary" data-name="Log-in by">password, app</td>' in (
        client.get("/sessions/").text
    )
    assert "password, app" in client_of(operator).get(f"/team/{pk}/").text


def test_recovery_code_is_told_from_the_app(with_app: User) -> None:
    recovery = Authenticator.objects.create(
        user=with_app, type="recovery_codes", data={"seed": "a" * 80, "used_mask": 0}
    )
    client = Client()
    client.post("/login/", {"username": "senior", "password": PASSWORD})
    client.post("/login/code/", {"code": recovery.wrap().get_unused_codes()[0]})
    assert "password, recovery code" in client.get("/sessions/").text


def test_confirmations_and_their_refusals_are_logged(
    client_of: ClientOf, with_app: User, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_of(with_app)
    age_log_in(client.session)
    caplog.set_level("INFO", "loupe")
    caplog.clear()
    client.post("/reauthenticate/?next=/", {"password": "wrong"})
    client.post("/reauthenticate/code/?next=/", {"code": "000000"})
    client.post("/reauthenticate/code/?next=/", {"code": make_code()})
    client.post("/reauthenticate/?next=/", {"password": PASSWORD})

    pk = with_app.pk
    assert read_log(caplog) == [
        f"Refused: account {pk}, wrong password to confirm",
        f"Refused: account {pk}, wrong code to confirm",
        f"Confirmed: account {pk}, by app",
        f"Confirmed: account {pk}, by password",
    ]


def test_refused_passkey_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    Client().post("/login/passkey/", {"credential": "{}"})
    assert read_log(caplog) == ["Refused: a passkey that is unknown or does not fit the question"]


def test_sessions_end_only_after_a_recent_log_in(client_of: ClientOf, senior: User) -> None:
    here, elsewhere = client_of(senior), Client()
    elsewhere.post("/login/", {"username": "senior", "password": PASSWORD})
    age_log_in(here.session)
    answer = here.post("/sessions/others/end/")
    assert answer["Location"].startswith("/reauthenticate/?")
    assert elsewhere.get("/sessions/").status_code == 200

    here.post(answer["Location"], {"password": PASSWORD})
    assert elsewhere.get("/sessions/").status_code == 302
    assert here.get("/sessions/").status_code == 200
