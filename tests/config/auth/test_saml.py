"""Single sign-on by SAML 2.0, with a real identity provider on a port of this machine."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client

from config.auth.saml_settings import build_saml_provider
from moderation.models import Invitation
from tests.config.auth.saml_provider import SamlProvider, read_form, run_provider
from tests.config.auth.test_single_sign_on import find_way, is_logged_in, list_roles
from tests.log_ins import age_log_in
from tests.moderation.page_helpers import ClientOf

pytestmark = [
    pytest.mark.django_db,
    # pysaml2 uses functions that newer releases of Python and its libraries call old.
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
]
ACCEPT, FINISH = "/saml/sso/acs/", "/saml/sso/acs/finish/"

SSO = {
    "provider": "saml",
    "name": "House ID",
    "groups": "groups",
    "login": "saml_login",
    "again": "saml-again",
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SamlProvider]:
    with run_provider(tmp_path_factory.mktemp("saml")) as found:
        yield found


@pytest.fixture
def provider(running: SamlProvider, settings: Any) -> SamlProvider:
    settings.SSO = SSO
    settings.SSO_GROUP_ROLES = [("mods", "moderator"), ("ops", "operator")]
    settings.SSO_CREATE_ACCOUNTS = True
    settings.SOCIALACCOUNT_PROVIDERS = build_saml_provider(
        f"{running.url}/metadata", "House ID", settings.PUBLIC_URL
    )
    running.reset()
    metadata = Client().get("/saml/sso/metadata/")
    assert metadata.status_code == 200, metadata.text
    running.service_metadata = metadata.text
    running.attributes = {"uid": "ada lovelace", "groups": ["mods", "unknown"]}
    return running


def ask(client: Client, start: str = "/saml/sso/login/") -> tuple[str, str]:
    """Go to the provider, and return address and answer of the form that it shows."""
    page = httpx.get(find_way(client.get(start)), timeout=60)
    assert page.status_code == 200, page.text
    return read_form(page.text)


def send(client: Client, answer: str) -> Any:
    """Send the form as the browser does, and return the last answer of Loupe."""
    kept = client.post(ACCEPT, {"SAMLResponse": answer, "RelayState": ""})
    if kept.status_code == 302 and kept["Location"] == FINISH:
        return client.get(FINISH)
    return kept


def sign_in(client: Client, start: str = "/saml/sso/login/") -> Any:
    url, answer = ask(client, start)
    assert urlsplit(url).path == ACCEPT
    return send(client, answer)


def test_first_log_in_creates_an_account_with_the_roles_of_the_groups(
    provider: SamlProvider,
) -> None:
    client = Client(enforce_csrf_checks=True)
    assert "Log in with House ID" in client.get("/login/").text

    answer = sign_in(client, "/saml/sso/login/?next=/queues/")

    assert (answer.status_code, answer.get("Location")) == (302, "/queues/"), answer.text
    person = User.objects.get()
    assert person.username == "adalovelace"
    assert not person.has_usable_password()
    assert list_roles(person) == ["moderator"]
    assert is_logged_in(client)


def test_roles_follow_the_groups_and_the_account_stays_the_same(provider: SamlProvider) -> None:
    sign_in(Client())
    provider.attributes = {"uid": "ada"}  # the attribute is missing: no groups
    sign_in(Client())
    assert list_roles(User.objects.get()) == []


def test_metadata_offers_no_log_out_and_asks_for_signed_assertions(provider: SamlProvider) -> None:
    assert "SingleLogoutService" not in provider.service_metadata
    assert 'WantAssertionsSigned="true"' in provider.service_metadata
    assert Client().get("/saml/sso/logout/").status_code == 404


def _set_audience(answer: Any) -> None:
    answer.assertion.conditions.audience_restriction[0].audience[0].text = "https://else.example"


def _remove_audience(answer: Any) -> None:
    answer.assertion.conditions.audience_restriction = []


def _expire(answer: Any) -> None:
    answer.assertion.conditions.not_on_or_after = "2020-01-01T00:00:00Z"


def _subject(answer: Any) -> Any:
    return answer.assertion.subject.subject_confirmation[0].subject_confirmation_data


def _set_question(answer: Any) -> None:
    answer.in_response_to = _subject(answer).in_response_to = "ONELOGIN_another"


def _remove_question(answer: Any) -> None:
    answer.in_response_to = _subject(answer).in_response_to = None


def _remove_signed_question(answer: Any) -> None:
    _subject(answer).in_response_to = None


def _set_recipient(answer: Any) -> None:
    _subject(answer).recipient = f"http://testserver{ACCEPT}else/"


def _set_issuer(answer: Any) -> None:
    answer.issuer.text = answer.assertion.issuer.text = "https://else.example"


def _remove_end(answer: Any) -> None:
    _subject(answer).not_on_or_after = None


def _make_transient(answer: Any) -> None:
    answer.assertion.subject.name_id.format = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"


@pytest.mark.parametrize(
    ("falsify", "sentence"),
    [
        (_set_audience, "is for another service"),
        (_remove_audience, "does not say for whom"),
        (_expire, "too old or from the future"),
        (_set_question, "does not belong to your log-in"),
        (_remove_question, "Start the log-in here"),
        (_remove_signed_question, "does not belong to your log-in"),
        (_set_recipient, "is for another service"),
        (_set_issuer, "comes from another identity provider"),
        (_remove_end, "does not say for whom and how long"),
        (_make_transient, "a name that changes at each log-in"),
    ],
)
def test_false_assertion_is_refused_with_a_reason(
    provider: SamlProvider, falsify: Callable[[Any], None], sentence: str
) -> None:
    provider.falsify = falsify
    client = Client()
    answer = sign_in(client)
    assert answer.status_code == 401
    assert sentence in answer.text
    assert not is_logged_in(client)
    assert not User.objects.exists()


def test_unsigned_assertion_is_refused(provider: SamlProvider) -> None:
    provider.sign_assertion = False
    answer = sign_in(Client())
    assert answer.status_code == 401
    assert "did not sign its statement" in answer.text
    assert not User.objects.exists()
    assert not Session.objects.filter(session_data__contains="acs").exists()


def test_changed_assertion_is_refused(provider: SamlProvider) -> None:
    provider.tamper = lambda text: text.replace(">mods<", ">ops<")
    answer = sign_in(Client())
    assert answer.status_code == 401
    assert "signature of the identity provider" in answer.text
    assert not User.objects.exists()


def test_assertion_counts_once(provider: SamlProvider) -> None:
    client = Client()
    _, text = ask(client)
    assert send(client, text).status_code == 302
    client.logout()
    again = send(client, text)
    assert again.status_code == 401
    assert "was used before" in again.text
    assert not is_logged_in(client)


def test_answer_to_another_browser_is_refused(provider: SamlProvider) -> None:
    _, text = ask(Client())
    other = Client()
    answer = send(other, text)
    assert answer.status_code == 401
    assert "does not belong to your log-in" in answer.text
    assert not is_logged_in(other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no base64!",
        base64.b64encode(b"no xml").decode(),
        base64.b64encode(b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>').decode(),
        "A" * 300_000,
    ],
)
def test_text_that_is_no_answer_is_refused(provider: SamlProvider, text: str) -> None:
    before = Session.objects.count()
    answer = Client().post(ACCEPT, {"SAMLResponse": text})
    assert answer.status_code == 401
    assert "was not accepted" in answer.text
    assert Session.objects.count() == before


def test_end_without_an_answer_is_refused(provider: SamlProvider) -> None:
    assert Client().get(FINISH).status_code == 401


def test_closed_account_is_refused(provider: SamlProvider, moderator: User) -> None:
    SocialAccount.objects.create(user=moderator, provider="saml", uid="u1")
    User.objects.filter(pk=moderator.pk).update(is_active=False)
    client = Client()
    assert sign_in(client)["Location"] == "/login/inactive/"
    assert not is_logged_in(client)


@pytest.mark.parametrize("verified", [True, False])
def test_existing_account_is_linked_by_a_verified_address_only(
    provider: SamlProvider, senior: User, settings: Any, verified: bool
) -> None:
    settings.SSO_CREATE_ACCOUNTS = False
    User.objects.filter(pk=senior.pk).update(email="Senior@house.example")
    provider.attributes = {
        "mail": "senior@house.example",
        "email_verified": str(verified).lower(),
    }
    client = Client()
    sign_in(client)
    assert is_logged_in(client) is verified
    assert SocialAccount.objects.filter(user=senior).exists() is verified


def test_invitation_links_whatever_the_address(
    provider: SamlProvider, operator: User, settings: Any
) -> None:
    settings.SSO_CREATE_ACCOUNTS = False
    settings.SSO_GROUP_ROLES = []
    _, token = Invitation.make(created_by=operator, roles=["auditor"])
    client = Client()
    assert "Join with House ID" in client.get(f"/invitations/{token}/").text
    sign_in(client)
    assert list_roles(User.objects.get(username="adalovelace")) == ["auditor"]


def test_too_many_groups_to_list_are_refused(provider: SamlProvider) -> None:
    provider.attributes = {
        "http://schemas.microsoft.com/claims/groups.link": "https://graph.example/groups"
    }
    assert "too many groups" in sign_in(Client()).text
    assert not User.objects.exists()


@pytest.mark.parametrize("age", [0, 3600])
def test_question_again_needs_a_fresh_log_in_there(
    provider: SamlProvider, operator: User, client_of: ClientOf, age: int
) -> None:
    SocialAccount.objects.create(user=operator, provider="saml", uid="u1")
    operator.set_unusable_password()
    operator.save()
    client = client_of(operator)
    age_log_in(client.session)
    provider.authenticated_at = time.time() - age
    question = client.post("/team/invitations/", {"roles": ["moderator"]})
    assert question["Location"].startswith("/reauthenticate/saml/?")

    back = sign_in(client, question["Location"])

    assert provider.asked[-1].force_authn == "true"
    if age:
        assert "did not ask who you are" in back.text
        return
    assert back["Location"].startswith("/reauthenticate/continue/")
    client.get(back["Location"])
    assert Invitation.objects.get().roles == ["moderator"]


def test_absent_provider_is_an_error_page(provider: SamlProvider, settings: Any) -> None:
    settings.SOCIALACCOUNT_PROVIDERS = build_saml_provider(
        "http://localhost:9/metadata", "House ID", settings.PUBLIC_URL
    )
    answer = Client().get("/saml/sso/login/")
    assert answer.status_code == 401
    assert "does not answer as expected" in answer.text


def test_metadata_can_be_a_file(provider: SamlProvider, settings: Any, tmp_path: Path) -> None:
    file = tmp_path / "idp.xml"
    file.write_text(httpx.get(f"{provider.url}/metadata", timeout=60).text)
    settings.SOCIALACCOUNT_PROVIDERS = build_saml_provider(
        file.as_uri(), "House ID", settings.PUBLIC_URL
    )
    client = Client()
    sign_in(client)
    assert is_logged_in(client)


def test_pages_do_not_exist_without_a_provider(client_of: ClientOf, moderator: User) -> None:
    for page in ("login", "acs/finish", "metadata"):
        assert Client().get(f"/saml/sso/{page}/").status_code == 404
    assert Client().post(ACCEPT).status_code == 404
    assert client_of(moderator).get("/reauthenticate/saml/").status_code == 404
