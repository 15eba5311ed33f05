"""API keys over HTTP: own keys within limits, replacement with grace, revocation by operators."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from generation.models import ApiKey
from moderation.models import TeamEvent
from moderation.services.api_keys import KEYS_MAX

ClientOf = Callable[[User], Client]


def make_form(**changes: Any) -> dict[str, Any]:
    return {
        "name": "shop",
        "scopes": ["read"],
        "calls_per_minute": 60,
        "images_per_day": 10,
        "expires": "",
        **changes,
    }


def read_key(response: Any) -> str:
    found = re.search(r'id="key-text"[^>]*>(lp_[^<]+)<', response.content.decode())
    assert found is not None
    return found.group(1)


def call(text: str) -> int:
    headers = {"Authorization": f"Bearer {text}"}
    return Client().get("/v1/assets", headers=headers).status_code


def test_integrator_creates_a_key_that_works_and_is_shown_once(
    client_of: ClientOf, integrator: User
) -> None:
    browser = client_of(integrator)
    made = browser.post("/keys/", make_form(expires="30"))

    text = read_key(made)
    key = ApiKey.objects.get()
    assert call(text) == 200
    assert (key.owner, key.scopes, key.calls_per_minute) == (integrator, ["read"], 60)
    assert key.expires_at is not None
    assert "no-store" in made["Cache-Control"]
    page = browser.get("/keys/").content.decode()
    assert text not in page
    assert key.webhook_secret not in page
    assert TeamEvent.objects.get().details.endswith("scopes read")


def test_more_than_the_limits_is_refused(
    client_of: ClientOf, integrator: User, settings: Any
) -> None:
    settings.API_KEY_SCOPES, settings.API_KEY_CALLS_PER_MINUTE = ["read"], 100
    browser = client_of(integrator)
    for changes in (
        {"scopes": ["read:all"]},
        {"scopes": ["read", "generate"]},
        {"scopes": []},
        {"calls_per_minute": 101},
        {"images_per_day": 0},
        {"images_per_day": ""},
    ):
        assert browser.post("/keys/", make_form(**changes)).status_code == 422
    assert not ApiKey.objects.exists()


def test_number_of_keys_is_limited(client_of: ClientOf, integrator: User) -> None:
    for number in range(KEYS_MAX):
        ApiKey.make(name=f"key {number}", owner=integrator)
    assert client_of(integrator).post("/keys/", make_form()).status_code == 409
    ApiKey.objects.first().revoke()
    assert client_of(integrator).post("/keys/", make_form()).status_code == 200


def test_replaced_key_works_until_its_grace_ends(client_of: ClientOf, integrator: User) -> None:
    browser = client_of(integrator)
    old = read_key(browser.post("/keys/", make_form()))
    key = ApiKey.objects.get()

    new = read_key(browser.post(f"/keys/{key.uuid}/rotation/", {"grace": "24"}))
    assert (call(old), call(new)) == (200, 200)
    past = timezone.now() - timedelta(seconds=1)
    ApiKey.objects.update(previous_until=past)
    assert (call(old), call(new)) == (401, 200)

    newest = read_key(browser.post(f"/keys/{key.uuid}/rotation/", {"grace": "0"}))
    assert (call(new), call(newest)) == (401, 200)
    assert ApiKey.objects.count() == 1
    assert browser.post(f"/keys/{key.uuid}/rotation/", {"grace": "9999"}).status_code == 422


def test_revoked_key_stops_with_its_predecessor(client_of: ClientOf, integrator: User) -> None:
    browser = client_of(integrator)
    old = read_key(browser.post("/keys/", make_form()))
    key = ApiKey.objects.get()
    new = read_key(browser.post(f"/keys/{key.uuid}/rotation/", {"grace": "168"}))

    assert browser.post(f"/keys/{key.uuid}/revocation/").status_code == 303

    assert (call(old), call(new)) == (401, 401)
    assert browser.post(f"/keys/{key.uuid}/rotation/", {"grace": "0"}).status_code == 404


def test_nobody_touches_keys_of_others_but_operators_revoke_them(
    client_of: ClientOf, integrator: User, operator: User
) -> None:
    other = User.objects.create_user("other")
    other.groups.add(Group.objects.get(name="integrator"))
    key, text = ApiKey.make(name="theirs", scopes=["read"], owner=other)
    browser = client_of(integrator)
    assert browser.post(f"/keys/{key.uuid}/rotation/", {"grace": "0"}).status_code == 404
    assert browser.post(f"/keys/{key.uuid}/revocation/").status_code == 404
    assert browser.post(f"/team/keys/{key.uuid}/revocation/").status_code == 403
    assert "theirs" not in browser.get("/keys/").content.decode()
    assert call(text) == 200

    assert "theirs" in client_of(operator).get("/team/keys/").content.decode()
    assert client_of(operator).post(f"/team/keys/{key.uuid}/revocation/").status_code == 303
    assert call(text) == 401
    event = TeamEvent.objects.get()
    assert (event.actor, event.person) == (operator, other)


def test_keys_stop_when_their_owner_is_deactivated(
    client_of: ClientOf, integrator: User, operator: User
) -> None:
    _, text = ApiKey.make(name="shop", scopes=["read"], owner=integrator)
    client_of(operator).post(f"/team/{integrator.pk}/deactivation/")
    assert call(text) == 401
