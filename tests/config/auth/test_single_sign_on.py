"""Single sign-on, with a real OpenID provider on a port of this machine."""

from __future__ import annotations

import html
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import jwt
import oidc_provider_mock
import pytest
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.contrib.auth.models import Group, User
from django.test import Client
from jwt.algorithms import RSAAlgorithm
from werkzeug.serving import make_server

from config.env import pairs
from generation.core.recent_login import SESSION_KEY
from moderation.models import Invitation, TeamEvent
from moderation.roles import ROLES
from tests.log_ins import age_log_in
from tests.moderation.page_helpers import ClientOf

pytestmark = [
    pytest.mark.django_db,
    # The provider uses functions of authlib that its newest release calls old.
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
]


KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
STRANGE_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Provider:
    """An OpenID provider whose ID tokens a test can falsify, signed anew by ``sign``."""

    def __init__(self) -> None:
        self.app = oidc_provider_mock.app()
        self.false_claims: dict[str, Any] = {}
        self.sign = lambda claims: jwt.encode(claims, KEY, "RS256", headers={"kid": "tests"})
        self.app.wsgi_app = self._falsify(self.app.wsgi_app)
        self.server = make_server("localhost", 0, self.app, threaded=True)
        self.url = f"http://localhost:{self.server.server_port}"

    def _falsify(self, inner: Any) -> Any:
        def call(environ: Any, start: Any) -> Any:
            change = {"/oauth2/token": self._change_token, "/jwks": self._add_key}.get(
                environ["PATH_INFO"]
            )
            if change is None or not self.false_claims:
                return inner(environ, start)
            kept: list[Any] = []
            answer = json.loads(b"".join(inner(environ, lambda *answer: kept.extend(answer[:2]))))
            body = json.dumps(change(answer)).encode()
            headers = [pair for pair in kept[1] if pair[0].lower() != "content-length"]
            start(kept[0], [*headers, ("Content-Length", str(len(body)))])
            return [body]

        return call

    def _change_token(self, answer: dict[str, Any]) -> dict[str, Any]:
        claims = jwt.decode(answer["id_token"], options={"verify_signature": False})
        return {**answer, "id_token": self.sign(claims | self.false_claims)}

    def _add_key(self, answer: dict[str, Any]) -> dict[str, Any]:
        key = RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
        return {"keys": [*answer["keys"], {**key, "kid": "tests"}]}

    def set_person(self, sub: str, **claims: Any) -> None:
        httpx.put(f"{self.url}/users/{sub}", json=claims).raise_for_status()


@pytest.fixture
def provider(settings: Any) -> Iterator[Provider]:
    found = Provider()
    thread = threading.Thread(target=found.server.serve_forever, args=(0.05,))
    thread.start()
    settings.SSO = {
        "provider": "sso",
        "name": "House ID",
        "groups": "groups",
        "issuer": found.url,
        "login": "openid_connect_login",
        "again": "single-sign-on-again",
    }
    settings.SSO_GROUP_ROLES = [("mods", "moderator"), ("ops", "operator")]
    settings.SSO_CREATE_ACCOUNTS = True
    settings.SOCIALACCOUNT_PROVIDERS = {
        "openid_connect": {
            "OAUTH_PKCE_ENABLED": True,
            "APPS": [
                {
                    "provider_id": "sso",
                    "name": "House ID",
                    "client_id": "loupe",
                    "secret": "s" * 32,
                    "settings": {"server_url": found.url},
                }
            ],
        }
    }
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


def find_way(answer: Any) -> str:
    """Return where an answer sends the browser: by redirect, or by a page after a form."""
    if answer.status_code == 302:
        return str(answer["Location"])
    found = re.search(r'<meta http-equiv="refresh" content="0; url=([^"]+)">', answer.text)
    assert found, answer.text
    return html.unescape(found[1])


def sign_in(
    client: Client,
    sub: str,
    *,
    start: str = "/sso/sso/login/",
    change: Callable[[dict[str, str]], dict[str, str]] = lambda query: query,
) -> Any:
    """Go to the provider, log in as ``sub``, and return its way back."""
    parts = urlsplit(find_way(client.get(start)))
    query = change({name: values[0] for name, values in parse_qs(parts.query).items()})
    url = f"{parts.scheme}://{parts.netloc}{parts.path}?{urlencode(query)}"
    back = httpx.post(url, data={"sub": sub})
    assert back.status_code == 302, back.text
    callback = urlsplit(back.headers["Location"])
    return client.get(f"{callback.path}?{callback.query}")


def is_logged_in(client: Client) -> bool:
    return bool(client.get("/sessions/").status_code == 200)


def list_roles(person: User) -> list[str]:
    return sorted(person.groups.values_list("name", flat=True))


def test_first_log_in_creates_an_account_with_the_roles_of_the_groups(provider: Provider) -> None:
    provider.set_person(
        "u1",
        preferred_username="ada lovelace",
        email="ada@house.example",
        email_verified=True,
        groups=["mods", "unknown"],
    )
    client = Client()
    assert "Log in with House ID" in client.get("/login/").text

    answer = sign_in(client, "u1", start="/sso/sso/login/?next=/queues/")

    assert (answer.status_code, answer["Location"]) == (302, "/queues/")
    person = User.objects.get()
    assert (person.username, person.email) == ("adalovelace", "ada@house.example")
    assert not person.has_usable_password()
    assert list_roles(person) == ["moderator"]
    assert TeamEvent.objects.get().details == "by groups: from no role to moderator"
    assert is_logged_in(client)


def test_roles_follow_the_groups_at_every_log_in(provider: Provider) -> None:
    provider.set_person("u1", preferred_username="ada", groups=["mods"])
    sign_in(Client(), "u1")
    person = User.objects.get()
    person.groups.add(Group.objects.get(name="auditor"))  # not one of the mapping

    provider.set_person("u1", preferred_username="ada")  # the claim is missing: no groups
    sign_in(Client(), "u1")

    assert list_roles(person) == ["auditor"]
    assert TeamEvent.objects.order_by("-pk")[0].details == ("by groups: from moderator to no role")


def test_last_operator_keeps_the_role(provider: Provider) -> None:
    provider.set_person("u1", preferred_username="ada", groups=["ops"])
    sign_in(Client(), "u1")
    provider.set_person("u1", preferred_username="ada", groups=["mods"])
    sign_in(Client(), "u1")

    assert list_roles(User.objects.get()) == ["moderator", "operator"]
    assert "stays operator" in TeamEvent.objects.order_by("-pk")[0].details


def test_superuser_keeps_everything(provider: Provider, admin: User) -> None:
    SocialAccount.objects.create(user=admin, provider="sso", uid="u1")
    provider.set_person("u1", groups=["mods"])
    client = Client()
    sign_in(client, "u1")
    assert is_logged_in(client)
    assert list_roles(admin) == []


@pytest.mark.parametrize(("is_verified", "is_linked"), [(True, True), (False, False)])
def test_existing_account_is_linked_by_a_verified_address_only(
    provider: Provider, senior: User, is_verified: bool, is_linked: bool, settings: Any
) -> None:
    settings.SSO_CREATE_ACCOUNTS = False
    User.objects.filter(pk=senior.pk).update(email="Senior@house.example")
    provider.set_person("u1", email="senior@house.example", email_verified=is_verified)
    client = Client()

    answer = sign_in(client, "u1")

    assert is_logged_in(client) is is_linked
    assert SocialAccount.objects.filter(user=senior).exists() is is_linked
    if not is_linked:
        assert answer.status_code == 401
        assert "has no account here" in answer.text
    senior.refresh_from_db()
    assert senior.has_usable_password()


def test_superuser_is_not_linked_by_address(provider: Provider, admin: User) -> None:
    User.objects.filter(pk=admin.pk).update(email="root@house.example")
    provider.set_person("u1", email="root@house.example", email_verified=True, groups=["mods"])
    client = Client()
    assert sign_in(client, "u1").status_code == 401
    assert not is_logged_in(client)
    assert not SocialAccount.objects.exists()


def test_invitation_links_whatever_the_address(
    provider: Provider, operator: User, settings: Any
) -> None:
    settings.SSO_CREATE_ACCOUNTS = False
    settings.SSO_GROUP_ROLES = []
    invitation, token = Invitation.make(created_by=operator, roles=["auditor"])
    provider.set_person("u1", preferred_username="ada")
    client = Client()
    assert "Join with House ID" in client.get(f"/invitations/{token}/").text

    sign_in(client, "u1")

    assert is_logged_in(client)
    assert list_roles(User.objects.get(username="ada")) == ["auditor"]
    invitation.refresh_from_db()
    assert invitation.accepted_at is not None


def test_person_without_a_mapped_group_gets_no_account(provider: Provider) -> None:
    provider.set_person("u1", preferred_username="ada", groups=["others"])
    assert "None of your groups" in sign_in(Client(), "u1").text
    assert not User.objects.exists()


def test_taken_name_does_not_take_the_account(provider: Provider, senior: User) -> None:
    provider.set_person("u1", preferred_username="senior", groups=["mods"])
    sign_in(Client(), "u1")
    assert SocialAccount.objects.get().user.username == "senior-2"


def test_deactivated_account_is_refused(provider: Provider, moderator: User) -> None:
    SocialAccount.objects.create(user=moderator, provider="sso", uid="u1")
    User.objects.filter(pk=moderator.pk).update(is_active=False)
    client = Client()
    assert sign_in(client, "u1")["Location"] == "/login/inactive/"
    assert not is_logged_in(client)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "http://evil.example"},
        {"aud": "another-client"},
        {"nonce": "x" * 32},
        {"sub": "u2"},
        {"exp": 1},
    ],
)
def test_false_id_token_is_refused(provider: Provider, claims: dict[str, Any]) -> None:
    provider.set_person("u1", preferred_username="ada", groups=["mods"])
    provider.false_claims = claims
    client = Client()
    assert sign_in(client, "u1").status_code == 401
    assert not is_logged_in(client)
    assert not User.objects.exists()


def test_claims_of_a_signed_token_count(provider: Provider) -> None:
    """The counterpart of the refusals above: these come from their claims, not from the key."""
    provider.set_person("u1", preferred_username="ada", groups=["mods"])
    provider.false_claims = {"auth_time": int(time.time())}
    client = Client()
    sign_in(client, "u1")
    assert is_logged_in(client)


def _sign_with_public_key(claims: dict[str, Any]) -> str:
    """Sign as an attacker who has only the provider's public key, with a symmetric algorithm."""
    public = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return jwt.encode(claims, public, "HS256", headers={"kid": "tests"})


@pytest.mark.parametrize(
    "sign",
    [
        lambda claims: jwt.encode(claims, "", "none"),
        lambda claims: jwt.encode(claims, None, "none", headers={"kid": "tests"}),
        lambda claims: jwt.encode(claims, "s" * 32, "HS256"),  # the client's secret
        _sign_with_public_key,
        lambda claims: jwt.encode(claims, STRANGE_KEY, "RS256", headers={"kid": "tests"}),
        lambda claims: jwt.encode(claims, STRANGE_KEY, "RS256", headers={"kid": "others"}),
        lambda claims: jwt.encode(claims, STRANGE_KEY, "RS256"),
        lambda claims: jwt.encode(claims, KEY, "RS256", headers={"kid": "tests"})[:-8] + "AAAAAAAA",
        lambda claims: "no.token",
    ],
)
def test_token_without_the_providers_signature_is_refused(
    provider: Provider, sign: Callable[[dict[str, Any]], str]
) -> None:
    provider.set_person("u1", preferred_username="ada", groups=["mods"])
    provider.false_claims, provider.sign = {"name": "Ada"}, sign
    client = Client()
    assert sign_in(client, "u1").status_code == 401
    assert not is_logged_in(client)
    assert not User.objects.exists()


def test_other_issuer_of_the_configuration_is_refused(provider: Provider, settings: Any) -> None:
    settings.SSO = {**settings.SSO, "issuer": "https://id.house.example"}
    provider.set_person("u1", preferred_username="ada", groups=["mods"])
    assert sign_in(Client(), "u1").status_code == 401


def test_answer_without_own_start_is_refused(provider: Provider) -> None:
    answer = Client().get("/sso/sso/callback/?code=x&state=y")
    assert answer.status_code == 401


def test_absent_provider_is_an_error_page(provider: Provider, settings: Any) -> None:
    apps = settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"]
    apps[0]["settings"]["server_url"] = "http://localhost:9"
    assert Client().get("/sso/sso/login/").status_code == 401


def test_cancelled_log_in_returns_to_the_log_in_page(provider: Provider) -> None:
    client = Client()
    state = parse_qs(urlsplit(client.get("/sso/sso/login/")["Location"]).query)["state"][0]
    answer = client.get(f"/sso/sso/callback/?error=access_denied&state={state}", follow=True)
    assert "You were not logged in there" in answer.text


def test_second_factor_is_asked_after_single_sign_on(provider: Provider, moderator: User) -> None:
    SocialAccount.objects.create(user=moderator, provider="sso", uid="u1")
    Authenticator.objects.create(user=moderator, type="totp", data={"secret": "A" * 32})
    client = Client()
    assert sign_in(client, "u1")["Location"] == "/login/code/"
    assert not is_logged_in(client)


@pytest.mark.parametrize("is_trusted", [True, False])
def test_single_sign_on_counts_as_second_factor_by_setting(
    provider: Provider, settings: Any, is_trusted: bool
) -> None:
    settings.MFA_REQUIRED_ROLES = ["moderator"]
    settings.SSO_MFA = is_trusted
    provider.set_person("u1", preferred_username="ada", groups=["mods"])
    client = Client()
    sign_in(client, "u1")
    assert client.get("/queues/").status_code == (200 if is_trusted else 302)


@pytest.mark.parametrize(
    ("methods", "is_enough"),
    [
        (["pwd"], False),
        ("pwd", False),
        (["pwd", "mfa"], True),
        (["hwk"], True),
        ([], True),
    ],
)
def test_stated_password_alone_is_no_second_factor(
    provider: Provider, settings: Any, methods: Any, is_enough: bool
) -> None:
    settings.MFA_REQUIRED_ROLES, settings.SSO_MFA = ["moderator"], True
    provider.set_person("u1", preferred_username="ada", groups=["mods"])
    provider.false_claims = {"amr": methods}
    client = Client()
    sign_in(client, "u1")
    assert client.get("/queues/").status_code == (200 if is_enough else 302)


def test_log_in_is_as_old_as_the_provider_says(provider: Provider, settings: Any) -> None:
    settings.SSO_GROUP_ROLES = [("ops", "operator")]
    provider.set_person("u1", preferred_username="ada", groups=["ops"])
    client = Client()
    assert parse_qs(urlsplit(client.get("/sso/sso/login/")["Location"]).query)["max_age"] == [
        str(settings.SESSION_COOKIE_AGE)
    ]

    provider.false_claims = {"auth_time": int(time.time()) - 3600}
    sign_in(client, "u1")

    assert is_logged_in(client)
    question = client.post("/team/invitations/", {"roles": ["moderator"]})
    assert question["Location"].startswith("/reauthenticate/sso/?")


def test_second_factor_here_is_newer_than_the_log_in_at_the_provider(
    provider: Provider, senior: User
) -> None:
    SocialAccount.objects.create(user=senior, provider="sso", uid="u1")
    recovery = Authenticator.objects.create(
        user=senior, type="recovery_codes", data={"seed": "a" * 80, "used_mask": 0}
    )
    Authenticator.objects.create(user=senior, type="totp", data={"secret": "A" * 32})
    provider.false_claims = {"auth_time": int(time.time()) - 3600}
    client = Client()
    sign_in(client, "u1")
    client.post("/login/code/", {"code": recovery.wrap().get_unused_codes()[0]})
    assert client.get("/exports/decisions.csv").status_code == 200


def test_log_in_before_the_longest_session_is_refused(provider: Provider, settings: Any) -> None:
    provider.set_person("u1", preferred_username="ada", groups=["mods"])
    provider.false_claims = {"auth_time": int(time.time()) - settings.SESSION_COOKIE_AGE - 3600}
    client = Client()
    assert "hours old. Log out there" in sign_in(client, "u1").text
    assert not is_logged_in(client)


def test_single_sign_on_again_continues_a_form(
    provider: Provider, operator: User, client_of: ClientOf
) -> None:
    SocialAccount.objects.create(user=operator, provider="sso", uid="u1")
    operator.set_unusable_password()
    operator.save()
    client = client_of(operator)
    age_log_in(client.session)
    question = client.post("/team/invitations/", {"roles": ["moderator"]})
    assert question["Location"].startswith("/reauthenticate/sso/?")

    away = find_way(client.get(question["Location"]))
    assert parse_qs(urlsplit(away).query)["prompt"] == ["login"]
    back = sign_in(client, "u1", start=question["Location"])

    assert back["Location"].startswith("/reauthenticate/continue/")
    client.get(back["Location"])
    assert Invitation.objects.get().roles == ["moderator"]


def test_another_person_at_the_provider_confirms_nothing(
    provider: Provider, operator: User, moderator: User, client_of: ClientOf
) -> None:
    SocialAccount.objects.create(user=operator, provider="sso", uid="u1")
    SocialAccount.objects.create(user=moderator, provider="sso", uid="u2")
    client = client_of(operator)
    session = client.session
    session[SESSION_KEY] = 0
    session.save()
    assert sign_in(client, "u2", start="/reauthenticate/sso/?next=/").status_code == 401
    assert client.session[SESSION_KEY] == 0


def test_password_log_in_can_be_off(provider: Provider, settings: Any, moderator: User) -> None:
    settings.PASSWORD_LOGIN = False
    client = Client()
    assert 'name="password"' not in client.get("/login/").text
    assert client.post("/login/", {"username": "x", "password": "y"}).status_code == 403
    assert client.get("/password/forgotten/").status_code == 404


def test_pages_do_not_exist_without_a_provider(client_of: ClientOf, moderator: User) -> None:
    assert Client().get("/sso/sso/login/").status_code == 404
    assert Client().get("/sso/sso/callback/").status_code == 404
    assert client_of(moderator).get("/reauthenticate/sso/").status_code == 404


def test_group_roles_are_read_from_the_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSO_GROUP_ROLES", "cn=mods=moderator, ops=operator")
    found = pairs("SSO_GROUP_ROLES", choices=ROLES)
    assert found == [("cn=mods", "moderator"), ("ops", "operator")]
