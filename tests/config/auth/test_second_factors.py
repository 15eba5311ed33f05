"""Second factors: codes, recovery codes, the duty of roles, and their reset."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.contrib.auth.models import User
from django.test import Client

from generation.models import ApiKey
from moderation.models import TeamEvent
from tests.conftest import PASSWORD
from tests.log_ins import age_log_in
from tests.moderation.page_helpers import ClientOf

pytestmark = pytest.mark.django_db
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def make_code(secret: str = SECRET, step: int = 0) -> str:
    return str(format_hotp_value(hotp_value(secret, int(time.time()) // 30 + step)))


@pytest.fixture
def with_app(senior: User) -> User:
    Authenticator.objects.create(user=senior, type="totp", data={"secret": SECRET})
    return senior


def enter(name: str, **data: str) -> tuple[Client, Any]:
    client = Client()
    return client, client.post("/login/", {"username": name, "password": PASSWORD, **data})


def is_logged_in(client: Client) -> bool:
    return bool(client.get("/sessions/").status_code == 200)


def test_app_is_set_up_with_recovery_codes(client_of: ClientOf, senior: User) -> None:
    client = client_of(senior)
    page = client.get("/factors/app/").text
    secret = re.search(r'id="secret"[^>]*value="(\w+)"', page)
    assert secret is not None
    assert 'src="data:image/svg+xml;base64,' in page

    assert client.post("/factors/app/", {"code": "000000"}).status_code == 200
    assert not Authenticator.objects.exists()
    answer = client.post("/factors/app/", {"code": make_code(secret[1])})

    assert answer["Location"] == "/factors/recovery-codes/"
    codes = re.findall(r"^(?:<code>|.*<code>)?(\d{8})$", client.get(answer["Location"]).text, re.M)
    assert len(codes) == 10


def test_password_alone_is_not_enough(with_app: User) -> None:
    client, answer = enter("senior", next="/queues/")
    assert answer["Location"] == "/login/code/"
    assert not is_logged_in(client)

    assert client.post("/login/code/", {"code": "000000"}).status_code == 200
    assert not is_logged_in(client)
    assert client.post("/login/code/", {"code": make_code()})["Location"] == "/queues/"
    assert is_logged_in(client)


def test_code_works_once(with_app: User) -> None:
    code = make_code()
    for expected in (302, 200):
        client, _ = enter("senior")
        assert client.post("/login/code/", {"code": code}).status_code == expected


def test_codes_cannot_be_guessed(with_app: User) -> None:
    client, _ = enter("senior")
    for _ in range(5):
        client.post("/login/code/", {"code": "000000"})
    answer = client.post("/login/code/", {"code": make_code()})
    assert "Too many wrong attempts" in answer.text
    assert not is_logged_in(client)


def test_recovery_code_works_once(with_app: User) -> None:
    recovery = Authenticator.objects.create(
        user=with_app, type="recovery_codes", data={"seed": "a" * 80, "used_mask": 0}
    )
    code = recovery.wrap().get_unused_codes()[0]
    for expected in (302, 200):
        client, _ = enter("senior")
        assert client.post("/login/code/", {"code": code}).status_code == expected


def test_code_confirms_who_one_is(client_of: ClientOf, with_app: User) -> None:
    client = client_of(with_app)
    age_log_in(client.session)
    answer = client.post("/reauthenticate/code/?next=/queues/", {"code": make_code()})
    assert answer["Location"] == "/queues/"
    assert client.get("/exports/decisions.csv").status_code == 200


def test_first_factor_is_added_only_after_a_recent_log_in(
    client_of: ClientOf, senior: User
) -> None:
    client = client_of(senior)
    age_log_in(client.session)
    for path in ("/factors/app/", "/factors/passkeys/new/"):
        assert client.get(path)["Location"].startswith("/reauthenticate/?")


def test_factors_change_only_after_a_recent_log_in(client_of: ClientOf, with_app: User) -> None:
    client = client_of(with_app)
    age_log_in(client.session)
    for path in ("/factors/app/removal/", "/factors/passkeys/new/", "/factors/recovery-codes/new/"):
        assert client.get(path)["Location"].startswith("/reauthenticate/?")


# --- The duty of roles ---


@pytest.fixture
def duty(settings: Any) -> None:
    settings.MFA_REQUIRED_ROLES = ["senior moderator", "operator"]


def test_role_without_a_factor_is_led_to_set_one_up(
    duty: None, client_of: ClientOf, senior: User, make_review: Callable[..., Any]
) -> None:
    client, review = client_of(senior), make_review()
    assert client.get("/queues/")["Location"] == "/factors/"
    assert "Your role needs a second factor" in client.get("/factors/").text
    assert client.get("/factors/app/").status_code == 200
    assert client.post(f"/reviews/{review.uuid}/claim/").status_code == 403
    htmx = client.get("/", headers={"HX-Request": "true"})
    assert (htmx.status_code, htmx["HX-Redirect"]) == (204, "/factors/")
    json = client.post("/undo/", headers={"Accept": "application/json"})
    assert (json.status_code, json.json()["error"]) == (403, "second_factor_required")
    assert client.get(f"/assets/{review.asset.uuid}/thumbnail").status_code == 302
    assert client.get("/admin/").status_code == 302
    assert client.post("/logout/").status_code == 302


def test_superuser_without_a_role_needs_a_factor_too(
    duty: None, client_of: ClientOf, admin: User
) -> None:
    assert client_of(admin).get("/queues/")["Location"] == "/factors/"


def test_role_with_a_factor_works(duty: None, client_of: ClientOf, with_app: User) -> None:
    assert client_of(with_app).get("/queues/").status_code == 200


def test_recovery_codes_alone_are_no_factor(duty: None, client_of: ClientOf, senior: User) -> None:
    Authenticator.objects.create(user=senior, type="recovery_codes", data={})
    assert client_of(senior).get("/queues/").status_code == 302


def test_other_roles_are_not_affected(duty: None, client_of: ClientOf, moderator: User) -> None:
    assert client_of(moderator).get("/queues/").status_code == 200


def test_api_keys_are_not_affected(duty: None, senior: User) -> None:
    _, text = ApiKey.make(name="app", scopes=["read"], owner=senior)
    answer = Client().get("/v1/assets", headers={"Authorization": f"Bearer {text}"})
    assert answer.status_code != 302
    assert "factor" not in answer.text


def test_duty_costs_no_query(
    settings: Any, client_of: ClientOf, with_app: User, django_assert_max_num_queries: Any
) -> None:
    client = client_of(with_app)
    counts = []
    for roles in ([], ["senior moderator"]):
        settings.MFA_REQUIRED_ROLES = roles
        with django_assert_max_num_queries(100) as captured:
            assert client.get("/queues/").status_code == 200
        counts.append(len(captured))
    assert counts[0] == counts[1]


# --- Reset ---


def test_operator_resets_factors_and_the_log_says_so(
    client_of: ClientOf, operator: User, with_app: User
) -> None:
    session = client_of(with_app)
    page = client_of(operator).get(f"/team/{with_app.pk}/").text
    assert "Reset the second factors of senior" in page
    assert "app with codes" in page

    answer = client_of(operator).post(f"/team/{with_app.pk}/factors/removal/")

    assert answer.status_code == 303
    assert not Authenticator.objects.exists()
    assert not is_logged_in(session)
    event = TeamEvent.objects.get()
    assert (event.kind, event.person, event.details) == ("factors", with_app, "1 removed")


def test_operator_cannot_reset_own_factors(client_of: ClientOf, operator: User) -> None:
    Authenticator.objects.create(user=operator, type="totp", data={"secret": SECRET})
    answer = client_of(operator).post(f"/team/{operator.pk}/factors/removal/")
    assert answer.status_code == 409
    assert Authenticator.objects.exists()


def test_admin_site_does_not_show_secrets(client_of: ClientOf, admin: User) -> None:
    client = client_of(admin)
    for path in ("mfa/authenticator", "socialaccount/socialapp", "account/emailaddress"):
        assert client.get(f"/admin/{path}/").status_code == 404
