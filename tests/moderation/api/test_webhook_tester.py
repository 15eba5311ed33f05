"""The webhook tester of the page Developers: a signed event through the guarded client."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from html import unescape
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.utils import timezone

from generation.models import ApiKey, GenerationRequest
from moderation.api.webhooks import delivery
from moderation.models import Delivery
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


def test_failed_event_is_sent_again_by_its_owner_only(
    client_of: ClientOf,
    moderator: User,
    other_moderator: User,
    key: ApiKey,
    make_request: Callable[..., GenerationRequest],
) -> None:
    item = make_request(api_key=key, callback_url=URL)
    event = Delivery.objects.create(
        request=item, kind="finished", status="failed", attempts=6, finished_at=timezone.now()
    )
    url = f"/deliveries/{event.uuid}/retry/"

    assert "Send now" in client_of(moderator).get("/developers/").content.decode()
    assert client_of(other_moderator).post(url).status_code == 404
    assert client_of(moderator).post(url)["Location"] == "/developers/"

    event.refresh_from_db()
    assert (event.status, event.attempts, event.finished_at) == ("waiting", 0, None)
    assert delivery.is_due()
    Delivery.objects.update(status="delivered", due_at=None)
    page = client_of(moderator).post(url, follow=True)
    assert "has been delivered meanwhile" in page.content.decode()
