"""Assets that an API key can read, and private hosts that callers may use."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.http import HttpResponse
from django.test import Client

from generation.models import ApiKey, Asset, GenerationRequest, Source
from tests.moderation.api.calls import CLEAN, classify, data_url, run_local_server
from tests.moderation.api.test_novita import body, submit

pytestmark = pytest.mark.django_db
MakeAsset = Callable[..., Asset]
MakeRequest = Callable[..., GenerationRequest]


def get(text: str, path: str = "/v1/assets") -> HttpResponse:
    return Client().get(path, headers={"Authorization": f"Bearer {text}"})


def list_ids(text: str, path: str = "/v1/assets") -> set[str]:
    return {row["id"] for row in get(text, path).json()["assets"]}


@pytest.fixture
def assets(make_asset: MakeAsset, make_request: MakeRequest) -> dict[str, Any]:
    """Create assets of two keys' requests, of a classification call, and of an import."""
    shop, shop_text = ApiKey.make(name="shop", scopes=["classify", "generate", "read"])
    other, other_text = ApiKey.make(name="other", scopes=["read"])
    _, all_text = ApiKey.make(name="report", scopes=["read:all"])
    sent = classify(
        shop_text, {"imageDataUrl": data_url(CLEAN)}, path="/api/nsfw/image?review=true"
    )
    return {
        "shop": shop_text,
        "other": other_text,
        "all": all_text,
        "of shop": make_asset(
            source=Source.TXT2IMG, request=make_request(api_key=shop), position=0
        ),
        "of other": make_asset(
            source=Source.TXT2IMG, request=make_request(api_key=other), position=0
        ),
        "sent": Asset.objects.get(uuid=sent.headers["X-Loupe-Assets"]),
        "file": make_asset(),
    }


def test_key_reads_only_its_own_assets_and_read_all_reads_all(assets: dict[str, Any]) -> None:
    ids = {name: str(asset.uuid) for name, asset in assets.items() if isinstance(asset, Asset)}

    assert list_ids(assets["shop"]) == {ids["of shop"], ids["sent"]}
    assert list_ids(assets["other"]) == {ids["of other"]}
    assert list_ids(assets["all"]) == set(ids.values())
    assert list_ids(assets["shop"], "/v1/assets?sortDirection=asc&pageSize=1") == {ids["sent"]}
    for name, status in {"of shop": 200, "sent": 200, "of other": 404, "file": 404}.items():
        assert get(assets["shop"], f"/v1/assets/{ids[name]}").status_code == status
        assert get(assets["all"], f"/v1/assets/{ids[name]}").status_code == 200
    bulk = Client().post(
        "/v1/assets/get-bulk",
        {"assetIds": list(ids.values())},
        content_type="application/json",
        headers={"Authorization": f"Bearer {assets['shop']}"},
    )
    assert {row["id"] for row in bulk.json()["assets"]} == {ids["of shop"], ids["sent"]}


def test_migration_fills_keys_of_assets_and_adds_read_all(
    assets: dict[str, Any],
) -> None:
    migration = import_module("generation.migrations.0010_keys_of_assets")
    before = dict(Asset.objects.values_list("pk", "api_key"))
    assert sum(key is not None for key in before.values()) == 3
    Asset.objects.update(api_key=None)

    migration.fill(apps, None)

    assert dict(Asset.objects.values_list("pk", "api_key")) == before
    scopes = dict(ApiKey.objects.values_list("name", "scopes"))
    assert scopes == {
        "shop": ["classify", "generate", "read", "read:all"],
        "other": ["read", "read:all"],
        "report": ["read:all"],
    }


def test_urls_of_callers_use_only_caller_allow(settings: Any) -> None:
    """FETCH_ALLOW applies only to images of providers."""
    _, key = ApiKey.make(name="shop", scopes=["classify", "generate"])

    def judge(url: str) -> int:
        return classify(key, {"imageUrl": url}).status_code

    def order(url: str) -> int:
        test = {"enabled": True, "return_task_status": "TASK_STATUS_SUCCEED"}
        return submit(
            key, {**body(), "extra": {"webhook": {"url": url, "test_mode": test}}}
        ).status_code

    with run_local_server() as found:
        url = found.put("/picture.png", CLEAN)
        settings.FETCH_ALLOW, settings.CALLER_ALLOW = [found.address], []
        assert judge(url) == 400
        assert order(url) == 400
        assert (found.requested_paths, found.posts) == ([], [])

        settings.FETCH_ALLOW, settings.CALLER_ALLOW = [], [found.address]
        assert judge(url) == 200
        assert order(url) == 200
        assert len(found.posts) == 1
