"""SCIM over HTTP, with the bodies that Okta and Entra ID send."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from generation.models import ApiKey
from moderation.models import TeamEvent
from tests.moderation.page_helpers import ClientOf

pytestmark = pytest.mark.django_db
TOKEN, OLD = "t" * 40, "o" * 40
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
OKTA = {
    "schemas": [USER],
    "userName": "ada@house.example",
    "name": {"givenName": "Ada", "familyName": "Lovelace"},
    "emails": [{"primary": True, "value": "ada@house.example", "type": "work"}],
    "displayName": "Ada Lovelace",
    "locale": "en-US",
    "externalId": "00ujl29u0le5T6Aj10h7",
    "groups": [],
    "password": "1mz050nq",
    "active": True,
}
# https://learn.microsoft.com/en-us/entra/identity/app-provisioning/use-scim-to-provision-users-and-groups
ENTRA_CLOSES = {
    "schemas": [PATCH],
    "Operations": [{"op": "Replace", "path": "active", "value": "False"}],
}
ENTRA_CHANGES = {
    "schemas": [PATCH],
    "Operations": [
        {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "new@house.example"},
        {"op": "Replace", "path": "name.familyName", "value": "King"},
        {"op": "Add", "path": "title", "value": "Countess"},
    ],
}
OKTA_CLOSES = {"schemas": [PATCH], "Operations": [{"op": "replace", "value": {"active": False}}]}


@pytest.fixture(autouse=True)
def _tokens(settings: Any) -> None:
    settings.SCIM_TOKEN = [TOKEN, OLD]


def call(method: str, path: str, body: Any = None, token: str = TOKEN) -> Any:
    return Client().generic(
        method,
        f"/scim/v2/{path}",
        b"" if body is None else json.dumps(body),
        content_type="application/scim+json",
        headers={"Authorization": f"Bearer {token}"},
    )


def test_directory_creates_a_person_without_password_and_role() -> None:
    answer = call("POST", "Users", OKTA)

    assert (answer.status_code, answer["Content-Type"]) == (201, "application/scim+json")
    person = User.objects.get()
    assert (person.username, person.email, person.last_name) == (
        "ada@house.example",
        "ada@house.example",
        "Lovelace",
    )
    assert not person.has_usable_password()
    assert not person.groups.exists()
    body = answer.json()
    assert (body["id"], body["active"], "password" in body) == (str(person.pk), True, False)
    assert TeamEvent.objects.get().details == "by the directory (SCIM)"


def test_taken_name_is_409(moderator: User) -> None:
    answer = call("POST", "Users", {**OKTA, "userName": "Moderator"})
    assert (answer.status_code, answer.json()["scimType"]) == (409, "uniqueness")


@pytest.mark.parametrize("body", [OKTA_CLOSES, ENTRA_CLOSES])
def test_closing_ends_sessions_and_keys_at_once_and_for_good(
    client_of: ClientOf, moderator: User, body: Any
) -> None:
    browser = client_of(moderator)
    _, key = ApiKey.make(name="app", scopes=["read"], owner=moderator)
    headers = {"Authorization": f"Bearer {key}"}
    assert Client().get("/v1/assets", headers=headers).status_code != 401

    answer = call("PATCH", f"Users/{moderator.pk}", body)

    assert (answer.status_code, answer.json()["active"]) == (200, False)
    assert browser.get("/sessions/").status_code == 302
    assert Client().get("/v1/assets", headers=headers).status_code == 401
    again = {"schemas": [PATCH], "Operations": [{"op": "replace", "value": {"active": True}}]}
    assert call("PATCH", f"Users/{moderator.pk}", again).json()["active"] is True
    assert browser.get("/sessions/").status_code == 302
    kinds = TeamEvent.objects.order_by("pk").values_list("kind", flat=True)
    assert list(kinds) == ["deactivated", "reactivated"]


def test_entra_changes_single_attributes(moderator: User) -> None:
    body = call("PATCH", f"Users/{moderator.pk}", ENTRA_CHANGES).json()
    assert body["emails"] == [{"value": "new@house.example", "primary": True}]
    assert body["name"]["familyName"] == "King"
    assert body["userName"] == "moderator"


def test_okta_replaces_the_whole_person(moderator: User) -> None:
    body = call("PUT", f"Users/{moderator.pk}", {**OKTA, "active": False}).json()
    assert (body["userName"], body["active"]) == ("ada@house.example", False)


def test_deletion_closes_the_account_and_keeps_its_name(moderator: User) -> None:
    assert call("DELETE", f"Users/{moderator.pk}").status_code == 204
    moderator.refresh_from_db()
    assert not moderator.is_active


def test_people_are_found_by_name(moderator: User, senior: User) -> None:
    body = call("GET", 'Users?filter=userName eq "MODERATOR"&startIndex=1&count=100').json()
    assert [row["userName"] for row in body["Resources"]] == ["moderator"]
    assert call("GET", 'Users?filter=userName eq "nobody"').json()["totalResults"] == 0
    page = call("GET", "Users?startIndex=2&count=1").json()
    assert (page["totalResults"], page["itemsPerPage"]) == (2, 1)
    assert call("GET", 'Users?filter=title co "x"').status_code == 400


def test_people_beyond_the_roles_and_the_last_operator_are_protected(
    admin: User, operator: User
) -> None:
    for person in (admin, operator):
        assert call("PATCH", f"Users/{person.pk}", OKTA_CLOSES).status_code == 403
        person.refresh_from_db()
        assert person.is_active


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"Operations": "x"},
        {"Operations": [{"op": "explode", "path": "active"}]},
        {"Operations": [{"op": "replace", "path": "active", "value": "perhaps"}]},
        {"Operations": [{"op": "replace", "path": "userName", "value": "no spaces"}]},
        {"Operations": [{"op": "replace", "path": "emails", "value": "no address"}]},
        {"Operations": [{"op": "replace", "value": 1}]},
    ],
)
def test_wrong_bodies_change_nothing(moderator: User, body: Any) -> None:
    answer = call("PATCH", f"Users/{moderator.pk}", body)
    assert answer.status_code == 400
    assert answer.json()["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
    moderator.refresh_from_db()
    assert (moderator.username, moderator.is_active) == ("moderator", True)


def test_token_decides(settings: Any) -> None:
    assert call("GET", "Users", token=OLD).status_code == 200
    for token in ("", "x", "ü"):
        assert call("GET", "Users", token=token).status_code == 401
    settings.SCIM_TOKEN = [TOKEN]
    assert call("GET", "Users", token=OLD).status_code == 401
    settings.SCIM_TOKEN = []
    assert call("GET", "Users").status_code == 404


def test_server_says_what_it_can() -> None:
    assert call("GET", "ServiceProviderConfig").json()["patch"] == {"supported": True}
    assert call("GET", "ResourceTypes").json()["Resources"][0]["endpoint"] == "/Users"
