from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError
from django.test import Client

from generation.forms.request_form import FIELDS
from generation.models import GenerationRequest
from generation.services import model_catalog, storage_checks
from generation.services.requests import create_request
from tests.generation.test_forms import sent

Status = GenerationRequest.Status
ClientOf = Callable[[User], Client]
Make = Callable[..., GenerationRequest]
LIST, NEW = "/requests/", "/requests/new/"
SUBMITTED: dict[str, Any] = {
    "model_name": "alder.safetensors",
    "prompt": "a harbour",
    "width": 512,
    "height": 512,
    "image_num": 1,
    "steps": 20,
    "guidance_scale": 7.5,
    "sampler_name": "Euler a",
}
pytestmark = pytest.mark.usefixtures("model_suggestions")


def test_request_form_needs_permission(client_of: ClientOf, auditor: User) -> None:
    browser = client_of(auditor)

    assert browser.get(NEW).status_code == 403
    assert browser.post(NEW, sent()).status_code == 403
    assert not GenerationRequest.objects.exists()
    assert NEW.encode() not in browser.get(LIST).content


def test_valid_form_sent_twice_makes_one_request(client_of: ClientOf, moderator: User) -> None:
    browser, data = client_of(moderator), sent(prompt="a harbour", seed="")

    answer, again = browser.post(NEW, data), browser.post(NEW, data, follow=True)

    request = GenerationRequest.objects.get()
    assert answer["Location"] == request.get_absolute_url()
    assert again.redirect_chain == [(request.get_absolute_url(), 302)]
    assert "Already submitted; showing the existing request." in again.content.decode()
    assert (request.requested_by, request.prompt, request.status) == (
        moderator,
        "a harbour",
        Status.QUEUED,
    )
    assert request.seed >= 0
    assert (request.enable_nsfw_detection, request.nsfw_detection_level) == (True, 2)


def test_token_used_between_lookup_and_insert_returns_the_first_request(
    moderator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forces the race: the checks between lookup and insert submit the same form."""
    token, first = uuid4(), []

    def create() -> tuple[GenerationRequest, bool]:
        return create_request(
            user=moderator, provider="novita-sandbox", fields=SUBMITTED, form_token=token
        )

    def submit_meanwhile() -> str:
        monkeypatch.undo()
        first.append(create())
        return ""

    monkeypatch.setattr(storage_checks, "explain_outage", submit_meanwhile)
    again, is_new = create()

    assert first == [(again, True)]
    assert not is_new
    assert GenerationRequest.objects.get() == again


def test_integrity_error_without_a_request_of_the_token_is_raised(moderator: User) -> None:
    values = SUBMITTED | {"uuid": uuid4()}
    create_request(user=moderator, provider="novita-sandbox", fields=values)

    with pytest.raises(IntegrityError):
        create_request(user=moderator, provider="novita-sandbox", fields=values, form_token=uuid4())

    assert GenerationRequest.objects.count() == 1


def test_invalid_form_returns_422_with_the_entered_values(
    client_of: ClientOf, moderator: User
) -> None:
    answer = client_of(moderator).post(NEW, sent(width="4", prompt="half a <thought>"))
    page = answer.content.decode()

    assert answer.status_code == 422
    assert "Width must be from 128 to 2048." in page
    assert 'aria-invalid="true"' in page
    assert "half a &lt;thought&gt;" in page
    assert not GenerationRequest.objects.exists()


def test_every_form_has_its_own_token(client_of: ClientOf, moderator: User) -> None:
    browser = client_of(moderator)
    tokens = {browser.get(NEW).context["form"]["form_token"].value() for _ in range(3)}

    assert len(tokens) == 3


def test_form_is_filled_from_an_earlier_request(
    client_of: ClientOf, moderator: User, make_request: Make
) -> None:
    source = make_request(
        prompt="a harbour",
        width=768,
        seed=99,
        model_name="birch.safetensors",
        steps=33,
        enable_nsfw_detection=True,
        nsfw_detection_level=1,
    )
    source.refresh_from_db()
    browser = client_of(moderator)

    answer = browser.get(NEW, {"from": str(source.uuid)})
    form = answer.context["form"]

    for name in FIELDS:
        if name in form.fields:
            assert form[name].value() == getattr(source, name)
    assert form["form_token"].value() != source.form_token
    assert f"{NEW}?from={source.uuid}" in browser.get(source.get_absolute_url()).content.decode()


@pytest.mark.parametrize("wanted", ["nonsense", "00000000-0000-4000-8000-000000000000", ""])
def test_unknown_source_request_gives_the_empty_form(
    client_of: ClientOf, moderator: User, wanted: str
) -> None:
    answer = client_of(moderator).get(NEW, {"from": wanted})

    assert answer.status_code == 200
    assert answer.context["form"]["prompt"].value() is None
    assert answer.context["form"]["model_name"].value() == "alder.safetensors"


def test_form_works_without_model_suggestions(
    client_of: ClientOf, moderator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_catalog, "suggest_checkpoints", lambda slug: [])

    assert client_of(moderator).get(NEW).status_code == 200
    assert client_of(moderator).post(NEW, sent(model_name="by-hand")).status_code == 302
    assert GenerationRequest.objects.get().model_name == "by-hand"


def test_form_without_a_provider_is_refused(
    client_of: ClientOf, moderator: User, settings: Any
) -> None:
    settings.IMAGE_PROVIDERS = {}

    assert b"No provider is configured" in client_of(moderator).get(NEW).content
    assert client_of(moderator).post(NEW, sent()).status_code == 422
