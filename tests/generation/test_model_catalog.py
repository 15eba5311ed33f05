from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache, caches
from django.utils import timezone

from generation import providers
from generation.providers.base import Model, ModelPage, ProviderBusyError, ProviderRejectedError
from generation.services import model_catalog
from generation.services.model_catalog import CatalogQuery


class Provider:
    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []

    def list_models(self, **asked: Any) -> ModelPage:
        self.asked.append(asked)
        if isinstance(self.answer, Exception):
            raise self.answer
        models = tuple(
            Model(name=name, title=name.title(), is_sdxl="xl" in name, tags=("a",))
            for name in self.answer
        )
        return ModelPage(models=models, next_cursor="c_opaque")


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def forget() -> None:
        cache.clear()
        caches["models"].clear()

    def install(answer: Any) -> Provider:
        made = Provider(answer)
        monkeypatch.setattr(providers, "get_provider", lambda slug: made)
        return made

    forget()
    yield install
    forget()


def grow_old(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    """Move the clock forward and clear the cached failures."""
    cache.clear()
    moment = timezone.now() + by
    monkeypatch.setattr("django.utils.timezone.now", lambda: moment)


def test_models_are_requested_once_and_cached(provider: Any) -> None:
    novita = provider(["alder", "beech"])

    assert model_catalog.suggest_checkpoints("novita") == [("alder", "Alder"), ("beech", "Beech")]
    assert model_catalog.suggest_checkpoints("novita") == [("alder", "Alder"), ("beech", "Beech")]
    assert len(novita.asked) == 1


def test_each_catalog_query_is_cached_separately(provider: Any) -> None:
    novita = provider(["alder"])

    for question in (
        CatalogQuery(provider="novita"),
        CatalogQuery(provider="novita", kind="lora"),
        CatalogQuery(provider="novita", query="fog"),
        CatalogQuery(provider="novita", is_sdxl=True),
        CatalogQuery(provider="novita", cursor="c_opaque"),
    ):
        assert model_catalog.fetch_page(question).next_cursor == "c_opaque"
    assert len(novita.asked) == 5
    assert novita.asked[3] == {
        "kind": "checkpoint",
        "query": "",
        "is_sdxl": True,
        "visibility": "",
        "source": "",
        "cursor": "",
        "limit": 50,
    }


@pytest.mark.parametrize(
    "error", [ProviderBusyError("No answer."), LookupError("gone"), RuntimeError("bug")]
)
def test_failing_provider_gives_no_suggestions_and_no_error(
    provider: Any, error: Exception
) -> None:
    novita = provider(error)

    assert model_catalog.suggest_checkpoints("novita") == []
    assert model_catalog.suggest_checkpoints("novita") == []
    assert len(novita.asked) == 1


def test_last_page_is_kept_through_a_provider_failure_and_a_restart(
    provider: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider(["alder"])
    first = model_catalog.fetch_page(CatalogQuery(provider="novita"))
    provider(ProviderBusyError("Novita is busy."))
    grow_old(monkeypatch, timedelta(days=3))

    offer = model_catalog.fetch_page(CatalogQuery(provider="novita"))

    assert offer.models == first.models
    assert (offer.problem, offer.asked_at, offer.next_cursor) == (
        "Novita is busy.",
        first.asked_at,
        "c_opaque",
    )


def test_models_are_requested_again_after_five_minutes(
    provider: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider(["alder"])
    model_catalog.suggest_checkpoints("novita")
    provider(["birch"])
    grow_old(monkeypatch, timedelta(minutes=6))

    assert model_catalog.suggest_checkpoints("novita") == [("birch", "Birch")]


def test_rejected_query_does_not_block_other_queries(provider: Any) -> None:
    novita = provider(ProviderRejectedError("That cursor is not mine."))

    assert (
        model_catalog.fetch_page(CatalogQuery(provider="novita", cursor="x")).problem
        == "That cursor is not mine."
    )
    novita.answer = ["alder"]
    assert (
        model_catalog.fetch_page(CatalogQuery(provider="novita", cursor="x")).problem
        == "That cursor is not mine."
    )
    assert model_catalog.fetch_page(CatalogQuery(provider="novita")).problem == ""


def test_unresponsive_provider_is_asked_once_and_not_waited_for(
    provider: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_answer = threading.Event()
    novita = provider(["alder"])
    at_once, asked, answered = novita.list_models, [], []

    def models(**question: Any) -> Any:
        asked.append(question)
        may_answer.wait(60)
        answered.append(question)
        return at_once(**question)

    monkeypatch.setattr(novita, "list_models", models)
    monkeypatch.setattr(model_catalog, "WAIT", 0.05)

    assert model_catalog.suggest_checkpoints("novita") == []
    assert model_catalog.suggest_checkpoints("novita") == []
    assert len(asked) == 1, "a silent provider is left alone for a while"
    assert answered == []

    may_answer.set()
    for thread in threading.enumerate():
        if thread.name == "models-of-novita":
            thread.join(5)
    assert model_catalog.suggest_checkpoints("novita") == [("alder", "Alder")]


def test_wait_for_a_provider_is_at_most_two_seconds() -> None:
    assert model_catalog.WAIT <= 2


def test_is_sdxl_queries_the_provider_for_unlisted_models(provider: Any) -> None:
    novita = provider(["alder", "basalt-xl"])
    names = ("alder", "basalt-xl", "elsewhere")

    fresh = [model_catalog.is_sdxl("novita", name) for name in names]
    assert novita.asked[0]["query"] == "alder"
    asked = len(novita.asked)
    model_catalog.suggest_checkpoints("novita")

    assert fresh == [model_catalog.is_sdxl("novita", name) for name in names] == [False, True, None]
    assert len(novita.asked) == asked + 1, "what is known is not asked again"


def test_is_sdxl_raises_catalog_unavailable_error_without_a_catalog(provider: Any) -> None:
    novita = provider(ProviderBusyError("No answer."))
    with pytest.raises(model_catalog.CatalogUnavailableError, match="No answer"):
        model_catalog.is_sdxl("novita", "alder")

    cache.clear()
    novita.answer = ["alder"]
    assert model_catalog.is_sdxl("novita", "alder") is False
    novita.answer = ProviderBusyError("No answer.")
    assert model_catalog.is_sdxl("novita", "alder") is False, "it was said once"


@pytest.mark.parametrize("content", [b"", b"\x80nonsense", b"{}"])
def test_broken_cache_files_are_ignored(provider: Any, settings: Any, content: bytes) -> None:
    novita = provider(["alder"])
    model_catalog.suggest_checkpoints("novita")
    for file in settings.CACHES["models"]["LOCATION"].glob("*.djcache"):
        file.write_bytes(content)

    assert model_catalog.suggest_checkpoints("novita") == [("alder", "Alder")]
    assert len(novita.asked) == 2
