from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from generation.wire.txt2img import RANGES, SAMPLERS, Txt2ImgBody, explain

REQUEST: dict[str, Any] = {
    "model_name": "clearwater_v5_55191.safetensors",
    "prompt": "a lighthouse",
    "width": 512,
    "height": 768,
    "image_num": 2,
    "steps": 20,
    "guidance_scale": 7.5,
    "sampler_name": "Euler a",
}


def read(extra: object = None, **request: Any) -> Txt2ImgBody:
    return Txt2ImgBody.model_validate_json(
        json.dumps({"extra": extra, "request": REQUEST | request})
    )


def refusal(extra: object = None, **request: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        read(extra, **request)
    return explain(caught.value)


def test_minimal_body_gets_the_documented_defaults() -> None:
    body = read()
    assert (body.request.seed, body.request.negative_prompt, body.request.loras) == (-1, None, [])
    assert (body.extra.response_image_type, body.extra.enable_nsfw_detection) == ("png", False)


def test_empty_values_of_the_official_sdk_count_as_absent() -> None:
    unset = dict.fromkeys(
        (
            "sd_vae",
            "seed",
            "negative_prompt",
            "loras",
            "embeddings",
            "refiner",
            "hires_fix",
            "clip_skip",
        )
    )
    extra = {
        "response_image_type": "jpeg",
        "enable_nsfw_detection": False,
        "nsfw_detection_level": 0,
        "custom_storage": {},
        "enterprise_plan": {},
    }
    body = read(extra, **unset)
    assert body.request == read().request
    assert body.extra.custom_storage is None


def test_empty_negative_prompt_counts_as_absent() -> None:
    assert read(negative_prompt="").request.negative_prompt is None


def test_unknown_keys_are_ignored_as_at_novita() -> None:
    assert not read(enable_nsfw_detection=True).extra.enable_nsfw_detection


@pytest.mark.parametrize(
    "name", ["width", "height", "image_num", "steps", "guidance_scale", "clip_skip"]
)
def test_ranges_include_both_limits(name: str) -> None:
    low, high = RANGES["request", name]
    assert getattr(read(**{name: low}).request, name) == low
    assert getattr(read(**{name: high}).request, name) == high
    for beyond in (low - 1, high + 1):
        assert refusal(**{name: beyond}) == f"request.{name} must be from {low} to {high}."


def test_twenty_samplers_are_accepted_and_the_wrong_one_of_the_sdk_is_refused() -> None:
    assert len(SAMPLERS) == 20
    assert "must be 'Euler a'" in refusal(sampler_name="DPM++ Karras")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"prompt": ""}, "request.prompt must have 1 to 1024 characters."),
        ({"prompt": "x" * 1025}, "request.prompt must have 1 to 1024 characters."),
        ({"prompt": None}, "request.prompt is missing."),
        ({"width": "512"}, "request.width must be a whole number."),
        ({"steps": True}, "request.steps must be a whole number."),
        ({"restore_faces": 1}, "request.restore_faces must be true or false."),
        (
            {"loras": [{"model_name": "a", "strength": 1}] * 6},
            "request.loras must have 0 to 5 items.",
        ),
        (
            {"loras": [{"model_name": "a", "strength": 1.5}]},
            "request.loras.0.strength must be from 0 to 1.",
        ),
        (
            {"width": 1, "height": 1},
            "request.width must be from 128 to 2048, and 1 more field is wrong.",
        ),
        (
            {"width": 1, "height": 1, "steps": 0},
            "request.width must be from 128 to 2048, and 2 more fields are wrong.",
        ),
    ],
)
def test_refusal_is_one_message_with_field_and_range(wrong: dict[str, Any], sentence: str) -> None:
    assert refusal(**wrong) == sentence


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ("", "The body is not JSON."),
        ("[]", "The body must be an object."),
        ('{"request": null}', "request is missing."),
        ('{"request": 3}', "request must be an object."),
        (
            '{"request": {"width": NaN}}',
            "request.model_name is missing, and 7 more fields are wrong.",
        ),
    ],
)
def test_body_that_is_no_object_is_refused_with_a_message(raw: str, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Txt2ImgBody.model_validate_json(raw)
    assert explain(caught.value) == sentence


def test_transparent_background_needs_png() -> None:
    assert read(enable_transparent_background=True).request.enable_transparent_background
    assert "enable_transparent_background needs the image type png" in refusal(
        {"response_image_type": "webp"}, enable_transparent_background=True
    )


def test_only_set_fields_are_written() -> None:
    body = Txt2ImgBody.model_validate(
        {"extra": {"response_image_type": "webp"}, "request": REQUEST}
    )
    assert body.to_wire() == {"extra": {"response_image_type": "webp"}, "request": REQUEST}
