from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache, caches
from django.test import Client

from generation import providers
from generation.models import GenerationRequest
from generation.providers.base import Model, ModelPage, ProviderBusyError
from generation.sandbox import catalogue
from generation.services import model_catalog

ClientOf = Callable[[User], Client]
LIST, NEW = "/requests/models/", "/requests/new/"
HTMX = {"HX-Request": "true"}


class Catalogue:
    """A fake provider that serves the sandbox's models without a socket."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked: list[dict[str, Any]] = []

    def list_models(
        self, *, kind: str, query: str, is_sdxl: bool | None, cursor: str, limit: int, **asked: str
    ) -> ModelPage:
        self.asked.append({"kind": kind, "cursor": cursor})
        if self.error:
            raise self.error
        params = {
            "filter.types": kind,
            "filter.query": query,
            "pagination.cursor": cursor,
            "pagination.limit": "8",
        }
        page = catalogue.list_page(
            params | ({} if is_sdxl is None else {"filter.is_sdxl": str(is_sdxl)})
        )
        rows = [
            Model(
                name=row.sd_name,
                title=row.name,
                base_model=row.base_model,
                is_sdxl=row.is_sdxl,
                tags=tuple(row.tags),
            )
            for row in page.models
        ]
        return ModelPage(models=tuple(rows), next_cursor=page.pagination.next_cursor)


@pytest.fixture(autouse=True)
def novita(monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalogue]:
    cache.clear()
    caches["models"].clear()
    made = Catalogue()
    monkeypatch.setattr(providers, "get_provider", lambda slug: made)
    yield made
    cache.clear()
    caches["models"].clear()


def titles(page: str) -> list[str]:
    found = [part.split("</strong>")[0] for part in page.split("<strong>")[1:]]
    return [title.removeprefix("<bdi>").removesuffix("</bdi>") for title in found]


def test_model_picker_needs_permission_and_allows_only_get(
    client_of: ClientOf, auditor: User, client: Client
) -> None:
    assert client_of(auditor).get(LIST).status_code == 403
    assert client.get(LIST).status_code == 302
    assert client_of(auditor).post(LIST).status_code == 405


def test_model_row_shows_title_name_base_model_and_tags(
    client_of: ClientOf, moderator: User
) -> None:
    page = client_of(moderator).get(LIST, {"type": "lora", "q": "neon"}).content.decode()

    assert titles(page) == ["Neon Signage"]
    assert "neon_signage_68230" in page
    assert "SDXL 1.0" in page
    assert ">city</li>" in page
    assert "<!doctype html>" in page
    assert "hx-get" not in page.split('id="picker"')[1]


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({}, 8),
        ({"type": "vae"}, 4),
        ({"type": "textualinversion"}, 6),
        ({"type": "vae", "sdxl": "1"}, 1),
        ({"type": "vae", "sdxl": "0"}, 3),
        ({"for": "embedding_2_name"}, 6),
        ({"type": "lora", "q": "no such thing"}, 0),
        ({"type": "nonsense", "sdxl": "2", "provider": "elsewhere", "for": "prompt", "q": " "}, 8),
    ],
)
def test_models_are_filtered_by_type_sdxl_and_words(
    client_of: ClientOf, moderator: User, asked: dict[str, str], count: int
) -> None:
    answer = client_of(moderator).get(LIST, asked)

    assert (answer.status_code, len(titles(answer.content.decode()))) == (200, count)


def test_model_pages_follow_the_providers_cursor_to_the_end(
    client_of: ClientOf, moderator: User
) -> None:
    browser, seen, address = client_of(moderator), [], LIST
    while address:
        answer = browser.get(address)
        seen += titles(answer.content.decode())
        address = answer.context["more"]

    expected = [row.name for row in catalogue.ROWS if row.type.name == "checkpoint"]
    assert seen == expected


def test_chosen_model_is_filled_in_and_other_fields_are_kept(
    client_of: ClientOf, moderator: User, make_request: Callable[..., GenerationRequest]
) -> None:
    browser = client_of(moderator)
    source = make_request(prompt="a harbour", loras=[{"model_name": "kept", "strength": 0.3}])
    start = {
        "from": str(source.uuid),
        "sd_vae": "soft",
        "type": "lora",
        "for": "lora_2_name",
        "q": "neon",
    }

    [(_, use)] = browser.get(LIST, start).context["rows"]
    form = browser.get(use).context["form"]

    assert use.endswith("#field-lora_2_name")
    assert [form[f"lora_{n}_name"].value() for n in (1, 2)] == [
        "kept",
        "neon_signage_68230.safetensors",
    ]
    assert (form["prompt"].value(), form["sd_vae"].value()) == ("a harbour", "soft")
    again = browser.get(use).content.decode()
    assert "lora_2_name=neon_signage_68230.safetensors" in again.split('id="field-lora_3_name"')[1]


def test_chosen_lora_fills_the_next_free_row(client_of: ClientOf, moderator: User) -> None:
    answer = client_of(moderator).get(
        LIST, {"type": "lora", "lora_1_name": "a", "lora_2_name": "b"}
    )

    assert "lora_3_name=" in answer.context["rows"][0][1]


def test_htmx_gets_a_dialog_and_a_choice_replaces_one_field(
    client_of: ClientOf, moderator: User
) -> None:
    browser = client_of(moderator)
    part = browser.get(LIST, {"for": "sd_vae"}, headers=HTMX)
    page = part.content.decode()
    assert page.strip().startswith('<dialog class="picker" id="picker" open')
    assert part["Vary"].count("HX-Request") == 1

    use = part.context["rows"][0][1]
    assert 'hx-target="#field-sd_vae"' in page
    field = browser.get(use, headers=HTMX).content.decode()

    assert "<!doctype" not in field
    assert 'id="field-sd_vae"' in field
    assert 'value="clear_glass_vae_81100.safetensors"' in field
    assert "autofocus" in field
    assert field.strip().endswith('<dialog class="picker" id="picker" hx-swap-oob="true"></dialog>')


def test_last_page_is_shown_with_its_age_without_the_provider(
    client_of: ClientOf, moderator: User, novita: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = client_of(moderator)
    before = titles(browser.get(LIST).content.decode())
    novita.error = ProviderBusyError("Novita does not answer.")
    cache.clear()  # as after a restart
    monkeypatch.setattr(model_catalog, "FRESH_FOR", timedelta(0))

    page = browser.get(LIST).content.decode()

    assert titles(page) == before
    assert "Novita does not answer." in page
    assert "This is its last answer, from <time" in page
    assert "There is no earlier answer" in browser.get(LIST, {"q": "never asked"}).content.decode()


@pytest.mark.parametrize(
    "error", [ProviderBusyError("No."), LookupError("gone"), RuntimeError("bug"), OSError("disk")]
)
def test_picker_and_form_work_despite_any_provider_error(
    client_of: ClientOf, moderator: User, novita: Catalogue, error: Exception
) -> None:
    novita.error = error
    assert client_of(moderator).get(LIST).status_code == 200
    assert client_of(moderator).get(NEW).status_code == 200


def test_pages_do_not_wait_for_an_unresponsive_provider(
    client_of: ClientOf, moderator: User, novita: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    over, asked, answered = threading.Event(), [], []

    def models(**question: Any) -> ModelPage:
        asked.append(question)
        over.wait(60)
        answered.append(question)
        return ModelPage(models=())

    monkeypatch.setattr(novita, "list_models", models)
    monkeypatch.setattr(model_catalog, "WAIT", 0.05)
    browser = client_of(moderator)

    assert browser.get(LIST).status_code == 200
    assert len(asked) == 1
    assert "did not answer in time" in browser.get(LIST, {"type": "lora"}).content.decode()
    assert browser.get(NEW).status_code == 200
    assert len(asked) == 1, "a silent provider is left alone for a while"
    assert answered == []
    over.set()
    for thread in threading.enumerate():
        if thread.name.startswith("models-of-"):
            thread.join(5)


def test_picker_without_a_provider_shows_a_message(
    client_of: ClientOf, moderator: User, settings: Any
) -> None:
    settings.IMAGE_PROVIDERS = {}
    assert "No provider is configured." in client_of(moderator).get(LIST).content.decode()


def test_preset_fills_the_form_and_stays_in_picker_links(
    client_of: ClientOf, moderator: User
) -> None:
    browser = client_of(moderator)
    answer = browser.get(NEW, {"preset": "hires-fix"})
    page = answer.content.decode()

    assert answer.context["form"]["hires_width"].value() == 1024
    assert '<details class="more" id="more-hires" open>' in page
    assert f"{LIST}?for=sd_vae&amp;preset=hires-fix" in page
    assert browser.get(NEW, {"preset": "nonsense"}).status_code == 200
