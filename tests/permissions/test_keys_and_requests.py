"""Permissions of API keys and accounts without a role, and hidden fields of requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import ProtectedError
from django.test import Client
from django.urls import reverse

from generation.models import ApiKey, GenerationRequest
from tests.permissions.actors import NOW, grant

ClientOf = Callable[[User], Client]
MakeRequest = Callable[..., GenerationRequest]


@pytest.fixture
def outsider(db: None) -> User:
    """Create an account without a role."""
    return User.objects.create_user("outsider", password="x")


def fetch_api_statuses(text: str) -> dict[str, int]:
    """Return the status codes that a key gets in each of the three API formats."""
    browser, headers = Client(), {"Authorization": f"Bearer {text}"}
    return {
        "novita": browser.get("/v3/async/task-result?task_id=none", headers=headers).status_code,
        "nano-gpt": browser.post(
            "/api/nsfw/image", "{}", content_type="application/json", headers=headers
        ).status_code,
        "scenario": browser.get("/v1/assets", headers=headers).status_code,
    }


def test_key_of_inactive_owner_returns_401_or_403(moderator: User) -> None:
    scopes = ["generate", "classify", "read"]
    _, owned = ApiKey.make(name="shop", scopes=scopes, owner=moderator)
    _, ownerless = ApiKey.make(name="cron", scopes=scopes)
    alive = {"novita": 404, "nano-gpt": 400, "scenario": 200}
    assert fetch_api_statuses(owned) == fetch_api_statuses(ownerless) == alive

    User.objects.update(is_active=False)
    assert (
        fetch_api_statuses(owned)
        == fetch_api_statuses("lp_unknown")
        == {**dict.fromkeys(alive, 401), "novita": 403}
    )
    assert fetch_api_statuses(ownerless) == alive

    User.objects.update(is_active=True)
    assert fetch_api_statuses(owned) == alive


def test_account_with_api_key_cannot_be_deleted(moderator: User) -> None:
    ApiKey.make(name="shop", scopes=["read"], owner=moderator)
    with pytest.raises(ProtectedError):
        moderator.delete()


def test_account_without_role_reads_only_own_requests(
    client_of: ClientOf, outsider: User, moderator: User, make_request: MakeRequest
) -> None:
    mine = make_request(
        requested_by=outsider, prompt="my own harbour", status="failed", error="x", finished_at=NOW
    )
    other = make_request(
        requested_by=moderator,
        prompt="somebody's lighthouse",
        status="failed",
        error="x",
        finished_at=NOW,
    )
    browser = client_of(outsider)

    assert browser.get(mine.get_absolute_url()).status_code == 200
    assert browser.get(other.get_absolute_url()).status_code == 404
    for address in (
        reverse("generation:request-list"),
        reverse("generation:request-list") + "?q=harbour",
        "/",
    ):
        page = browser.get(address).content.decode()
        assert "my own harbour" in page
        assert "lighthouse" not in page
    assert (
        "lighthouse"
        not in browser.get(reverse("generation:request-list") + f"?q={other.uuid}").content.decode()
    )
    assert browser.post(reverse("generation:request-retry", args=[other.uuid])).status_code == 403
    assert browser.post(reverse("generation:request-cancel", args=[other.uuid])).status_code == 404
    assert client_of(moderator).get(mine.get_absolute_url()).status_code == 200


def test_request_form_is_not_prefilled_from_unreadable_request(
    client_of: ClientOf, outsider: User, moderator: User, make_request: MakeRequest
) -> None:
    other = make_request(requested_by=moderator, prompt="somebody's lighthouse")
    grant(outsider, "add_generationrequest")
    address = reverse("generation:request-create") + f"?from={other.uuid}"
    answer = client_of(outsider).get(address)
    assert answer.status_code == 200
    assert "lighthouse" not in answer.content.decode()


def test_desk_shows_prompts_only_with_view_generationrequest(
    client_of: ClientOf, outsider: User, make_review: Any, make_request: MakeRequest
) -> None:
    """Covers a custom role with the permissions of the desk but not the one for requests."""
    item = make_request(prompt="somebody's lighthouse", negative_prompt="a windmill")
    review = make_review(source="txt2img", request=item, position=0)
    grant(outsider, "view_review", "decide_review", "view_asset")
    browser = client_of(outsider)
    claim = reverse("moderation:claim-next", args=["waiting"])

    assert browser.post(claim).status_code == 303
    for address in (review.get_absolute_url(), "/queues/waiting/sheet/", "/queues/mine/"):
        page = browser.get(address)
        assert page.status_code == 200
        text = page.content.decode()
        assert not any(word in text for word in ("lighthouse", "windmill", str(item.uuid))), address
        assert 'href="/search/"' not in text
    assert browser.get("/search/?q=lighthouse").status_code == 403

    grant(outsider, "view_generationrequest")
    browser = client_of(outsider)
    assert "lighthouse" in browser.get(review.get_absolute_url()).content.decode()
    assert "lighthouse" in browser.get("/queues/waiting/sheet/").content.decode()
    assert review.asset.short_id in browser.get("/search/?q=lighthouse").content.decode()


def test_callback_url_and_idempotency_key_are_never_shown(
    client_of: ClientOf, admin: User, auditor: User, make_request: MakeRequest
) -> None:
    key, _ = ApiKey.make(name="shop", scopes=["generate"])
    item = make_request(
        api_key=key,
        callback_url="https://shop.example/hook?token=SECRETTOKEN",
        idempotency_key="SECRETNAME",
        idempotency_digest="5EC2E7" * 10,
    )
    page = reverse("admin:generation_generationrequest_change", args=[item.pk])
    search = reverse("admin:generation_generationrequest_changelist") + "?q=SECRETTOKEN"
    for user in (admin, auditor):
        browser = client_of(user)
        for address in (page, item.get_absolute_url()):
            text = browser.get(address).content.decode()
            assert not any(
                secret in text for secret in ("SECRETTOKEN", "shop.example", "SECRETNAME", "5EC2E7")
            )
        assert item.short_id not in browser.get(search).content.decode()
        text = browser.get(page).content.decode()
        assert "Webhook URL" in text
        assert text.count('<div class="readonly">set</div>') == 2
