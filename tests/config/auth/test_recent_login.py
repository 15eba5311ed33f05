"""Actions that need a recent log-in, and how they continue after the question."""

from __future__ import annotations

from collections.abc import Callable
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import Group, User
from django.test import Client

from generation.models import ApiKey
from moderation.models import Invitation, TeamEvent
from tests.conftest import PASSWORD
from tests.log_ins import age_log_in
from tests.moderation.page_helpers import ClientOf

pytestmark = pytest.mark.django_db
EXPORT = "/exports/decisions.csv"


@pytest.fixture
def stale(client_of: ClientOf) -> Callable[[User], Client]:
    """Return a function that returns a client whose log-in is 16 minutes old."""

    def make(user: User) -> Client:
        client = client_of(user)
        age_log_in(client.session, seconds=16 * 60)
        return client

    return make


def find_question(answer: Any) -> str:
    assert answer.status_code == 302
    assert answer["Location"].startswith("/reauthenticate/?")
    return str(answer["Location"])


def test_recent_login_exports_without_a_question(client_of: ClientOf, senior: User) -> None:
    assert client_of(senior).get(EXPORT).status_code == 200


def test_export_asks_and_then_starts_the_download(
    stale: Callable[[User], Client], senior: User
) -> None:
    client = stale(senior)
    question = find_question(
        client.get(f"{EXPORT}?verdict=reject", headers={"Referer": "http://testserver/decisions/"})
    )
    assert client.get(question).status_code == 200

    answer = client.post(question, {"password": PASSWORD})

    page = client.get(answer["Location"])
    assert f'content="0; url={EXPORT}?verdict=reject"' in unescape(page.text)
    assert 'href="/decisions/"' in page.text
    assert client.get(f"{EXPORT}?verdict=reject").status_code == 200


def test_wrong_password_asks_again_and_counts_as_failed_login(
    stale: Callable[[User], Client], senior: User
) -> None:
    client = stale(senior)
    question = find_question(client.get(EXPORT))

    answer = client.post(question, {"password": "wrong"})

    assert answer.status_code == 200
    assert "That is not your password." in answer.text
    find_question(client.get(EXPORT))
    assert AccessAttempt.objects.get().username == senior.username


def test_form_continues_with_what_was_entered(
    stale: Callable[[User], Client], operator: User
) -> None:
    client = stale(operator)
    entered = {"roles": ["moderator"], "email": "ada@house.example"}
    question = find_question(client.post("/team/invitations/", entered))
    assert not Invitation.objects.exists()

    answer = client.post(question, {"password": PASSWORD})

    assert answer.status_code == 422 or answer.status_code == 200
    invitation = Invitation.objects.get()
    assert (invitation.roles, invitation.email) == (["moderator"], "ada@house.example")


def test_refused_form_stores_nothing_without_the_answer(
    stale: Callable[[User], Client], operator: User, moderator: User
) -> None:
    client = stale(operator)
    for path in (f"/team/{moderator.pk}/deactivation/", f"/team/{moderator.pk}/password/"):
        find_question(client.post(path))
    moderator.refresh_from_db()
    assert moderator.is_active
    assert not TeamEvent.objects.exists()


def test_new_key_asks(stale: Callable[[User], Client], integrator: User) -> None:
    client = stale(integrator)
    assert client.get("/keys/").status_code == 200
    find_question(client.post("/keys/", {"name": "app"}))
    assert not ApiKey.objects.exists()


def test_policy_in_force_asks(stale: Callable[[User], Client], lead: User) -> None:
    find_question(stale(lead).post("/policies/1/proposal/", {"reason": "x", "approve": "1"}))


def test_admin_site_asks_before_a_change_only(stale: Callable[[User], Client], admin: User) -> None:
    client = stale(admin)
    assert client.get("/admin/auth/user/add/").status_code == 200
    find_question(client.post("/admin/auth/user/add/", {"username": "eve"}))


def test_form_with_a_query_continues(stale: Callable[[User], Client], admin: User) -> None:
    client = stale(admin)
    url = "/admin/auth/group/add/?_changelist_filters=q%3Dx"
    question = find_question(client.post(url, {"name": "guests"}))
    client.post(question, {"password": PASSWORD})
    assert Group.objects.filter(name="guests").exists()


def test_passwords_and_cookies_are_not_kept_in_the_session(
    stale: Callable[[User], Client], admin: User, moderator: User
) -> None:
    client = stale(admin)
    entered = {"password1": "correct-horse-1", "password2": "correct-horse-1"}
    path = f"/admin/auth/user/{moderator.pk}/password/"
    question = find_question(client.post(path, entered))
    assert "correct-horse-1" not in str(dict(client.session))
    assert "Nothing was saved" in client.get(question).text

    assert client.post(question, {"password": PASSWORD})["Location"] == path
    moderator.refresh_from_db()
    assert moderator.check_password(PASSWORD)

    age_log_in(client.session)
    find_question(
        client.post(
            "/admin/auth/group/add/", {"name": "x"}, headers={"Authorization": "Basic c2VjcmV0"}
        )
    )
    kept = str(dict(client.session))
    assert '"POST": "name=x"' in kept
    assert "c2VjcmV0" not in kept
    assert str(client.session.session_key) not in kept


def test_form_without_an_answer_is_forgotten_at_the_next_question(
    stale: Callable[[User], Client], operator: User
) -> None:
    client = stale(operator)
    find_question(client.post("/team/invitations/", {"roles": ["moderator"]}))
    client.get("/team/invitations/", headers={"HX-Request": "true"})
    client.post("/team/invitations/", headers={"HX-Request": "true"})
    client.post("/reauthenticate/?next=/team/invitations/", {"password": PASSWORD})
    assert not Invitation.objects.exists()


def test_decision_never_asks(
    stale: Callable[[User], Client], moderator: User, make_review: Callable[..., Any]
) -> None:
    review = make_review()
    client = stale(moderator)
    client.post(f"/reviews/{review.uuid}/claim/")
    answer = client.post(f"/reviews/{review.uuid}/decisions/", {"verdict": "approve"})
    assert answer.status_code in {200, 303}
    review.refresh_from_db()
    assert review.status == "approved"


def test_htmx_goes_to_the_question_and_back_to_its_page(
    stale: Callable[[User], Client], operator: User
) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "http://testserver/team/invitations/?x=1"}
    answer = stale(operator).post("/team/invitations/", headers=headers)
    assert answer.status_code == 204
    query = parse_qs(urlsplit(answer["HX-Redirect"]).query)
    assert query == {"next": ["/team/invitations/?x=1"]}


def test_json_gets_403(stale: Callable[[User], Client], senior: User) -> None:
    answer = stale(senior).get(EXPORT, headers={"Accept": "application/json"})
    assert answer.status_code == 403
    assert answer.json()["error"] == "recent_login_required"


@pytest.mark.parametrize("to", ["//evil.example/", "https://evil.example/", "", "evil"])
def test_download_page_leads_to_own_pages_only(client_of: ClientOf, senior: User, to: str) -> None:
    answer = client_of(senior).get("/reauthenticate/download/", {"to": to})
    assert answer.status_code == 404


def test_zero_minutes_never_ask(
    stale: Callable[[User], Client], senior: User, settings: Any
) -> None:
    settings.RECENT_LOGIN_MINUTES = 0
    assert stale(senior).get(EXPORT).status_code == 200
