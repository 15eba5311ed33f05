"""A request with every field of txt2img.

It passes the form, the client and the sandbox over a socket, and is shown on its page.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache, caches
from django.test import Client

from generation import tasks
from generation.models import Asset, GenerationRequest
from generation.sandbox.models import SandboxTask
from generation.wire import field_map
from tests.generation.test_forms import sent

pytestmark = pytest.mark.django_db(transaction=True)
ClientOf = Callable[[User], Client]
NEW = "/requests/new/"
FIELDS: dict[str, str] = {
    "model_name": "amberlight_v2_55113.safetensors",
    "prompt": "a harbour at dawn, every field set",
    "negative_prompt": "fog and text",
    "width": "136",
    "height": "144",
    "image_num": "2",
    "steps": "33",
    "guidance_scale": "6.25",
    "sampler_name": "DPM++ 2M Karras",
    "seed": "987654321",
    "sd_vae": "wide_gamut_xl_vae_81139.safetensors",
    "clip_skip": "3",
    "refiner_switch_at": "0.625",
    "hires_width": "208",
    "hires_height": "216",
    "hires_strength": "0.375",
    "hires_upscaler": "RealESRNet_x4plus",
    "enable_transparent_background": "on",
    "restore_faces": "on",
    "response_image_type": "png",
    "enable_nsfw_detection": "on",
    "nsfw_detection_level": "1",
    "s3_region": "eu-central-1",
    "s3_bucket": "pictures-of-loupe",
    "s3_path": "/generated/today",
    "s3_save_to_path_directly": "on",
    "enterprise_plan": "on",
    **{f"lora_{n}_name": f"lora-number-{n}" for n in range(1, 6)},
    **{f"lora_{n}_strength": f"0.{n}1" for n in range(1, 6)},
    **{f"embedding_{n}_name": f"embedding-number-{n}.pt" for n in range(1, 6)},
}
ON_THE_PAGE = (
    "amberlight_v2_55113.safetensors",
    "every field set",
    "fog and text",
    "136 × 144",
    "33",
    "6.25",
    "DPM++ 2M Karras",
    "987654321",
    "wide_gamut_xl_vae_81139.safetensors",
    "Clip skip",
    "0.625",
    "208 × 216",
    "0.375",
    "RealESRNet_x4plus",
    "transparent",
    "restored",
    "png",
    "Level 1",
    "eu-central-1",
    "pictures-of-loupe",
    "/generated/today",
    "directly in the path",
    "enterprise",
    *(f"lora-number-{n} at 0.{n}1" for n in range(1, 6)),
    *(f"embedding-number-{n}.pt" for n in range(1, 6)),
)


@pytest.fixture(autouse=True)
def _unjudged_sandbox(novita_sandbox: None, settings: Any) -> None:
    settings.CLASSIFIERS = []
    cache.clear()
    caches["models"].clear()


def words(page: bytes) -> str:
    return html.unescape(page.decode())


def test_every_field_reaches_the_provider_and_is_shown_on_the_page(
    client_of: ClientOf, moderator: User, senior: User
) -> None:
    browser = client_of(moderator)
    assert browser.get(NEW).status_code == 200  # loads the models, so that SDXL models are known

    answer = browser.post(NEW, sent(**FIELDS))
    assert answer.status_code == 302, answer.context["form"].errors
    for step in (tasks.submit, tasks.poll, tasks.fetch, tasks.fetch):
        step()

    request = GenerationRequest.objects.get()
    assert (request.status, request.error) == (GenerationRequest.Status.SUCCEEDED, "")
    body = SandboxTask.objects.get().accepted
    arrived = field_map.flatten(body)
    assert {name: arrived[name] for name in field_map.NAMES} == {
        name: getattr(request, name) for name in field_map.NAMES
    }
    assert len(body.request.loras) == len(body.request.embeddings) == 5
    assets = Asset.objects.filter(request=request)
    assert [(asset.width, asset.height, asset.image_type) for asset in assets] == [
        (208, 216, "png")
    ] * 2

    page = words(browser.get(request.get_absolute_url()).content)
    assert [text for text in ON_THE_PAGE if text not in page] == []


def test_form_from_an_earlier_request_contains_every_field(
    client_of: ClientOf, moderator: User
) -> None:
    browser = client_of(moderator)
    browser.post(NEW, sent(**FIELDS))
    first = GenerationRequest.objects.get()

    form = browser.get(NEW, {"from": str(first.uuid)}).context["form"]
    data = {
        name: value
        for name in form.fields
        if (value := form[name].value()) not in (None, "") and value is not False
    }
    assert browser.post(NEW, data).status_code == 302

    second = GenerationRequest.objects.exclude(pk=first.pk).get()
    assert {n: getattr(second, n) for n in field_map.NAMES} == {
        n: getattr(first, n) for n in field_map.NAMES
    }


def test_unset_fields_are_not_shown_on_the_page(client_of: ClientOf, moderator: User) -> None:
    browser = client_of(moderator)
    browser.post(NEW, sent())
    page = words(browser.get(GenerationRequest.objects.get().get_absolute_url()).content)

    for absent in (
        "VAE",
        "Clip skip",
        "LoRA",
        "Embedding",
        "Hires fix",
        "Refiner",
        "transparent",
        "S3",
        "Plan",
    ):
        assert not re.search(rf"\b{absent}\b", page)


def test_raw_result_is_shown_to_senior_moderators_only(
    client_of: ClientOf,
    moderator: User,
    senior: User,
    auditor: User,
    make_request: Callable[..., GenerationRequest],
) -> None:
    result = {"task": {"status": "TASK_STATUS_ODD"}, "note": "<script>raw & strange</script>"}
    request = make_request(result=result)

    for person, may in ((moderator, False), (senior, True), (auditor, False)):
        answer = client_of(person).get(request.get_absolute_url())
        page = answer.content.decode()
        assert ("TASK_STATUS_ODD" in page) is may
        assert (
            (json.loads(answer.context["raw"]["text"]) == result)
            if may
            else (answer.context["raw"] == {})
        )
        assert "<script>raw" not in page
    assert client_of(senior).get(make_request().get_absolute_url()).context["raw"] == {}


def test_seed_of_an_image_is_shown_if_known(
    client_of: ClientOf,
    senior: User,
    make_request: Callable[..., GenerationRequest],
    make_asset: Callable[..., Asset],
) -> None:
    request = make_request()
    asset = make_asset(request=request, position=0)
    page = client_of(senior).get(request.get_absolute_url()).content.decode()
    assert "<span>Seed</span>" not in page

    Asset.objects.filter(pk=asset.pk).update(seed=4242)
    assert "4242" in client_of(senior).get(request.get_absolute_url()).content.decode()
