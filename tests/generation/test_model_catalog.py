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
    """Later; what was silent may be asked again."""
    cache.clear()
    moment = timezone.now() + by
    monkeypatch.setattr("django.utils.timezone.now", lambda: moment)


def test_models_are_asked_for_once_and_remembered(provider: Any) -> None:
    novita = provider(["alder", "beech"])

    assert model_catalog.suggest_checkpoints("novita") == [("alder", "Alder"), ("beech", "Beech")]
    assert model_catalog.suggest_checkpoints("novita") == [("alder", "Alder"), ("beech", "Beech")]
    assert len(novita.asked) == 1


def test_every_question_has_its_own_answer(provider: Any) -> None:
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
def test_a_provider_that_fails_costs_the_suggestions_only(provider: Any, error: Exception) -> None:
    novita = provider(error)

    assert model_catalog.suggest_checkpoints("novita") == []
    assert model_catalog.suggest_checkpoints("novita") == []
    assert len(novita.asked) == 1


def test_the_last_answer_outlives_the_provider_and_a_restart(
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


def test_after_five_minutes_it_is_asked_again(
    provider: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider(["alder"])
    model_catalog.suggest_checkpoints("novita")
    provider(["birch"])
    grow_old(monkeypatch, timedelta(minutes=6))

    assert model_catalog.suggest_checkpoints("novita") == [("birch", "Birch")]


def test_a_question_that_displeases_does_not_silence_the_others(provider: Any) -> None:
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


def test_a_silent_provider_is_not_waited_for(
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


def test_nobody_waits_longer_than_two_seconds() -> None:
    assert model_catalog.WAIT <= 2


def test_whether_a_checkpoint_is_sdxl_does_not_depend_on_what_was_listed(provider: Any) -> None:
    novita = provider(["alder", "basalt-xl"])
    names = ("alder", "basalt-xl", "elsewhere")

    fresh = [model_catalog.is_sdxl("novita", name) for name in names]
    assert novita.asked[0]["query"] == "alder"
    asked = len(novita.asked)
    model_catalog.suggest_checkpoints("novita")

    assert fresh == [model_catalog.is_sdxl("novita", name) for name in names] == [False, True, None]
    assert len(novita.asked) == asked + 1, "what is known is not asked again"


def test_a_catalogue_that_was_never_read_is_no_answer_about_a_model(provider: Any) -> None:
    novita = provider(ProviderBusyError("No answer."))
    with pytest.raises(model_catalog.CatalogUnavailableError, match="No answer"):
        model_catalog.is_sdxl("novita", "alder")

    cache.clear()
    novita.answer = ["alder"]
    assert model_catalog.is_sdxl("novita", "alder") is False
    novita.answer = ProviderBusyError("No answer.")
    assert model_catalog.is_sdxl("novita", "alder") is False, "it was said once"


@pytest.mark.parametrize("content", [b"", b"\x80nonsense", b"{}"])
def test_a_broken_store_is_as_good_as_an_empty_one(
    provider: Any, settings: Any, content: bytes
) -> None:
    novita = provider(["alder"])
    model_catalog.suggest_checkpoints("novita")
    for file in settings.CACHES["models"]["LOCATION"].glob("*.djcache"):
        file.write_bytes(content)

    assert model_catalog.suggest_checkpoints("novita") == [("alder", "Alder")]
    assert len(novita.asked) == 2
