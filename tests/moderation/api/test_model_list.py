"""The model list of the API: rows and filters of the provider, and refused filters."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache, caches
from django.test import Client

from generation import providers
from generation.providers.base import Model, ModelPage
from generation.sandbox import catalogue as sandbox
from generation.services import model_catalog
from tests.moderation.api.calls import make_key

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _clear_caches() -> None:
    cache.clear()
    caches["models"].clear()


def get(**query: Any) -> Any:
    return Client().get("/v3/model", query, headers={"x-api-key": make_key("generate")})


@pytest.mark.django_db(transaction=True)
def test_models_of_provider_are_returned_unchanged(live_server: Any, settings: Any) -> None:
    entry = settings.IMAGE_PROVIDERS["novita-sandbox"]
    address = {**entry["OPTIONS"], "base_url": f"{live_server.url}/sandbox/novita"}
    settings.IMAGE_PROVIDERS = {"novita-sandbox": {**entry, "OPTIONS": address}}
    providers.get_provider.cache_clear()
    expected = {row.sd_name: row.to_wire() for row in sandbox.ROWS}
    for kind in ("checkpoint", "lora", "vae", "textualinversion"):
        rows = get(
            **{"filter.types": kind, "filter.source": "civitai", "pagination.limit": 100}
        ).json()["models"]
        assert rows
        assert {row["sd_name"]: row for row in rows} == {
            name: row for name, row in expected.items() if row["type"]["name"] == kind
        }
    assert get(**{"filter.visibility": "private"}).json()["models"] == []
    assert get(**{"filter.source": "training"}).json()["models"] == []
    providers.get_provider.cache_clear()


def test_visibility_and_source_filters_are_passed_to_provider(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, Any]] = []

    class Provider:
        def list_models(self, **question: Any) -> ModelPage:
            asked.append(question)
            return ModelPage(models=(Model(name="ours.safetensors", title="Ours"),))

    monkeypatch.setattr(providers, "get_provider", lambda slug: Provider())
    found = get(
        **{"filter.types": "lora", "filter.visibility": "private", "filter.source": "training"}
    ).json()

    assert [row["sd_name"] for row in found["models"]] == ["ours.safetensors"]
    assert found["models"][0]["id"] > 0
    assert (asked[0]["visibility"], asked[0]["source"]) == ("private", "training")


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("filter.visibility", "secret", "public, private"),
        ("filter.source", "elsewhere", "civitai, training, uploading"),
        ("filter.types", "hypernetwork", "checkpoint, lora"),
        ("filter.is_sdxl", "perhaps", "true or false"),
        ("filter.typs", "lora", "filter.types"),
        ("filter[visibility]", "secret", "public, private"),
        ("filter.type", "hypernetwork", "filter.types must be one of checkpoint, lora"),
        ("filter.query", "x" * 201, "filter.query must have at most 200 characters."),
        ("pagination.limit", "0", "pagination.limit must be from 1 to 100."),
        ("pagination.limit", "+5", "pagination.limit must be from 1 to 100."),
        ("pagination.limit", "5.0", "pagination.limit must be from 1 to 100."),
        ("pagination.cursor", "c_1234567", "pagination.cursor is not one of this server's."),
        ("pagination.cursor", "c_1\n", "pagination.cursor is not one of this server's."),
    ],
)
def test_unsupported_filter_returns_400(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, named: str
) -> None:
    monkeypatch.setattr(
        model_catalog, "fetch_page", lambda question: pytest.fail("the provider was called")
    )
    answer = get(**{name: value})

    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_REQUEST_BODY")
    assert named in answer.json()["message"]
