"""Every field of txt2img in the request body, and the models of every type."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import httpx
import pytest

from generation.providers.base import ProviderRejectedError, Submission
from tests.generation.providers.factories import make_submission
from tests.generation.providers.test_novita import answering, provider

EVERYTHING = make_submission(
    model_name="amberlight_v2_55113.safetensors",
    prompt="p",
    negative_prompt="n",
    width=128,
    height=2048,
    image_num=8,
    steps=100,
    guidance_scale=30.0,
    sampler_name="UniPC",
    seed=2**63 - 1,
    sd_vae="wide_gamut_xl_vae_81139.safetensors",
    clip_skip=12,
    loras=[{"model_name": f"lora{n}", "strength": n / 4} for n in range(5)],
    embeddings=[{"model_name": f"e{n}.pt"} for n in range(5)],
    hires_fix={
        "target_width": 128,
        "target_height": 4096,
        "strength": 1,
        "upscaler": "RealESRNet_x4plus",
    },
    refiner_switch_at=Decimal("0.000"),
    enable_transparent_background=True,
    restore_faces=True,
    response_image_type="png",
    enable_nsfw_detection=True,
    nsfw_detection_level=1,
    custom_storage={
        "aws_s3": {"region": "r", "bucket": "b", "path": "/p", "save_to_path_directly": True}
    },
    enterprise_plan=True,
    webhook_url="https://loupe.example/webhooks/novita/s",
)


def body(submission: Submission) -> Any:
    sent: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json={"task_id": "t"})

    provider(handler).submit(submission, on_answer=lambda raw: None)
    return json.loads(sent[0].content)


def test_every_field_is_sent_as_documented() -> None:
    assert body(EVERYTHING) == {
        "extra": {
            "response_image_type": "png",
            "enable_nsfw_detection": True,
            "nsfw_detection_level": 1,
            "custom_storage": {
                "aws_s3": {
                    "region": "r",
                    "bucket": "b",
                    "path": "/p",
                    "save_to_path_directly": True,
                }
            },
            "enterprise_plan": {"enabled": True},
            "webhook": {"url": "https://loupe.example/webhooks/novita/s"},
        },
        "request": {
            "model_name": "amberlight_v2_55113.safetensors",
            "prompt": "p",
            "negative_prompt": "n",
            "width": 128,
            "height": 2048,
            "image_num": 8,
            "steps": 100,
            "guidance_scale": 30.0,
            "sampler_name": "UniPC",
            "seed": 2**63 - 1,
            "sd_vae": "wide_gamut_xl_vae_81139.safetensors",
            "clip_skip": 12,
            "loras": [{"model_name": f"lora{n}", "strength": n / 4} for n in range(5)],
            "embeddings": [{"model_name": f"e{n}.pt"} for n in range(5)],
            "hires_fix": {
                "target_width": 128,
                "target_height": 4096,
                "strength": 1.0,
                "upscaler": "RealESRNet_x4plus",
            },
            "refiner": {"switch_at": 0.0},
            "enable_transparent_background": True,
            "restore_faces": True,
        },
    }


def test_unset_fields_are_not_sent_and_no_value_is_null() -> None:
    sent = body(make_submission())

    assert set(sent["request"]) == {
        "model_name",
        "prompt",
        "width",
        "height",
        "image_num",
        "steps",
        "guidance_scale",
        "sampler_name",
        "seed",
    }
    assert set(sent["extra"]) == {
        "response_image_type",
        "enable_nsfw_detection",
        "nsfw_detection_level",
    }
    assert "null" not in json.dumps(sent)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"clip_skip": 13}, "request.clip_skip must be from 1 to 12"),
        (
            {"loras": [{"model_name": "a", "strength": 1.1}]},
            "request.loras.0.strength must be from 0 to 1",
        ),
        (
            {"embeddings": [{"model_name": "a"}] * 6},
            "request.embeddings must have 0 to 5 items",
        ),
        ({"refiner_switch_at": Decimal("1.001")}, "request.refiner.switch_at must be from 0 to 1"),
    ],
)
def test_invalid_field_is_refused_before_sending(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ProviderRejectedError, match=sentence):
        body(make_submission(**wrong))


def test_models_have_the_names_that_a_submission_needs() -> None:
    def row(kind: str, **fields: Any) -> dict[str, Any]:
        return {
            "id": 1,
            "sd_name": "a.safetensors",
            "sd_name_in_api": "a",
            "type": {"name": kind},
            **fields,
        }

    rows = [
        row("checkpoint"),
        row("vae"),
        row("lora", tags=["fog"]),
        row("textualinversion", sd_name_in_api=""),
    ]
    page = provider(answering(200, {"models": rows})).list_models(kind="lora")

    assert [(model.kind, model.name) for model in page.models] == [
        ("checkpoint", "a.safetensors"),
        ("vae", "a.safetensors"),
        ("lora", "a"),
        ("textualinversion", "a.safetensors"),
    ]
    assert page.models[2].tags == ("fog",)


def test_model_query_uses_novitas_parameters() -> None:
    asked: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"models": []})

    provider(handler).list_models(
        kind="vae", query="soft", is_sdxl=False, cursor="c_Wzg=", limit=1000
    )

    assert dict(asked[0].url.params) == {
        "filter.types": "vae",
        "filter.query": "soft",
        "filter.is_sdxl": "false",
        "pagination.cursor": "c_Wzg=",
        "pagination.limit": "100",
    }
