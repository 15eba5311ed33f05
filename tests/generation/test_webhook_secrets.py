"""The webhook secret of each API key, which depends on no other secret."""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils.crypto import salted_hmac

from generation.models import ApiKey
from moderation.api.webhooks import client

pytestmark = pytest.mark.django_db
ClientOf = Callable[[User], Client]


def make(**fields: Any) -> ApiKey:
    return ApiKey.make(**{"name": "shop", "scopes": ["generate"], **fields})[0]


def test_each_api_key_has_its_own_random_webhook_secret() -> None:
    secrets = {make().webhook_secret for _ in range(20)}

    assert len(secrets) == 20
    assert {len(secret) for secret in secrets} == {64}


def test_new_secret_key_does_not_change_webhook_secrets(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.time, "time", lambda: 1_800_000_000.0)
    key = make()
    before = client.build_headers(secret=key.webhook_secret, delivery=key.uuid, content=b"x")
    settings.SECRET_KEY = "another-" + "y" * 50
    now = client.build_headers(
        secret=ApiKey.objects.get(pk=key.pk).webhook_secret, delivery=key.uuid, content=b"x"
    )

    assert before == now


def test_migration_keeps_the_derived_webhook_secret_of_old_keys() -> None:
    old, new = make(), make()
    ApiKey.objects.filter(pk=old.pk).update(webhook_secret="")
    derived = salted_hmac(
        "moderation.gateway.webhook", str(old.uuid), algorithm="sha256"
    ).hexdigest()

    migration = import_module("generation.migrations.0012_webhook_secrets")
    migration.keep_derived_secrets(apps, SimpleNamespace(connection=connection))

    assert ApiKey.objects.get(pk=old.pk).webhook_secret == derived
    assert ApiKey.objects.get(pk=new.pk).webhook_secret == new.webhook_secret


def test_command_replaces_a_webhook_secret_and_prints_only_the_new_one() -> None:
    key, other = make(), make()
    out = io.StringIO()

    call_command("rotate_webhook_secret", f"{key.hint}…", stdout=out)

    stored = ApiKey.objects.get(pk=key.pk).webhook_secret
    assert out.getvalue() == f"{stored}\n"
    assert stored != key.webhook_secret
    assert ApiKey.objects.get(pk=other.pk).webhook_secret == other.webhook_secret
    with pytest.raises(CommandError, match="No key begins with lp_nobody"):
        call_command("rotate_webhook_secret", "lp_nobody")


def test_owner_replaces_a_webhook_secret_and_sees_it_once(
    client_of: ClientOf, moderator: User
) -> None:
    key = make(owner=moderator)
    browser = client_of(moderator)
    path = f"/developers/keys/{key.uuid}/webhook-secret/"

    assert key.webhook_secret not in browser.get("/developers/").content.decode()
    assert browser.get(path).status_code == 405
    answer = browser.post(path)
    stored = ApiKey.objects.get(pk=key.pk).webhook_secret

    assert stored != key.webhook_secret
    assert stored in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    assert stored not in browser.get("/developers/").content.decode()


def test_webhook_secret_of_a_foreign_or_revoked_key_returns_404(
    client_of: ClientOf, moderator: User, other_moderator: User
) -> None:
    theirs, nobodys, revoked = make(owner=other_moderator), make(), make(owner=moderator)
    revoked.revoke()

    for key in (theirs, nobodys, revoked):
        answer = client_of(moderator).post(f"/developers/keys/{key.uuid}/webhook-secret/")
        assert answer.status_code == 404
        assert ApiKey.objects.get(pk=key.pk).webhook_secret == key.webhook_secret


def test_admin_shows_the_webhook_secret_only_when_the_key_is_created(
    client_of: ClientOf, admin: User
) -> None:
    browser = client_of(admin)
    data = {"name": "shop", "scopes": ["generate"], "calls_per_minute": "60"}

    made = browser.post("/admin/generation/apikey/add/", data, follow=True).content.decode()
    key = ApiKey.objects.get()

    assert key.webhook_secret in made
    for path in ("/admin/generation/apikey/", f"/admin/generation/apikey/{key.pk}/change/"):
        assert key.webhook_secret not in browser.get(path).content.decode()
