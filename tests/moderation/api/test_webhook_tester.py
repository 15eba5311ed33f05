"""The webhook tester of the page Developers: a signed event through the guarded client."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from html import unescape
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache

from generation.models import ApiKey
from tests.moderation.page_helpers import ClientOf

pytestmark = pytest.mark.django_db
URL = "https://shop.example/loupe"


@pytest.fixture
def key(moderator: User) -> ApiKey:
    cache.clear()
    return ApiKey.make(name="shop", scopes=["generate"], owner=moderator)[0]


def send(client: Any, key: ApiKey, url: str = URL) -> Any:
    return client.post(f"/developers/keys/{key.uuid}/webhook-test/", {"url": url})


def test_test_event_is_signed_and_shown_with_its_response(
    client_of: ClientOf, moderator: User, key: ApiKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, Any]] = []

    def answer(method: str, url: str, **options: Any) -> SimpleNamespace:
        sent.append({"url": url, **options})
        return SimpleNamespace(status=204)

    monkeypatch.setattr("moderation.api.webhooks.client.fetching.send", answer)
    page = send(client_of(moderator), key)

    assert page.status_code == 200
    (call,) = sent
    ((stamp, signature),) = re.findall(r"^t=(\d+),v1=(\w+)$", call["headers"]["X-Loupe-Signature"])
    expected = hmac.new(
        key.webhook_secret.encode(), f"{stamp}.".encode() + call["content"], hashlib.sha256
    )
    assert signature == expected.hexdigest()
    text = unescape(page.content.decode())
    assert "Status" in text
    assert "204" in text
    assert "The address accepts events" in text
    assert call["content"].decode() in text
    assert json.loads(call["content"])["payload"]["task"]["reason"]


def test_forbidden_address_is_explained_and_a_second_test_has_to_wait(
    client_of: ClientOf, moderator: User, key: ApiKey
) -> None:
    client = client_of(moderator)
    first = send(client, key, "http://169.254.169.254/latest")
    second = send(client, key)

    assert "The URL may not be called" in first.content.decode()
    assert second.status_code == 429
    assert "Wait 10 seconds" in second.content.decode()


def test_wrong_url_and_key_of_somebody_else_are_refused(
    client_of: ClientOf, moderator: User, other_moderator: User, key: ApiKey
) -> None:
    assert send(client_of(moderator), key, "no url").status_code == 422
    assert send(client_of(other_moderator), key).status_code == 404
