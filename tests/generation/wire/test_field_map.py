from __future__ import annotations

from typing import Any

import pytest

from generation.wire import field_map
from generation.wire.txt2img import Txt2ImgBody

PLAIN: dict[str, Any] = {
    "model_name": "m",
    "prompt": "p",
    "width": 512,
    "height": 768,
    "image_num": 2,
    "steps": 20,
    "guidance_scale": 7.5,
    "sampler_name": "Euler a",
    "seed": 0,
    "response_image_type": "png",
    "enable_nsfw_detection": False,
    "nsfw_detection_level": 0,
}
EVERYTHING: dict[str, Any] = PLAIN | {
    "negative_prompt": "n",
    "sd_vae": "soft.safetensors",
    "clip_skip": 2,
    "loras": [{"model_name": "fog", "strength": 0.25}, {"model_name": "film", "strength": 1.0}],
    "embeddings": [{"model_name": "hands.pt"}],
    "hires_fix": {
        "target_width": 1024,
        "target_height": 768,
        "strength": 0.5,
        "upscaler": "Latent",
    },
    "refiner_switch_at": 0.7,
    "enable_transparent_background": True,
    "restore_faces": True,
    "enable_nsfw_detection": True,
    "nsfw_detection_level": 2,
    "custom_storage": {
        "aws_s3": {"region": "r", "bucket": "b", "path": "/p", "save_to_path_directly": True}
    },
    "enterprise_plan": True,
}


def test_field_map_names_every_field_of_the_body() -> None:
    assert set(EVERYTHING) == set(field_map.NAMES)


@pytest.mark.parametrize("fields", [PLAIN, EVERYTHING])
def test_nest_and_flatten_round_trip(fields: dict[str, Any]) -> None:
    body = Txt2ImgBody.model_validate(field_map.nest(fields))
    empty = {
        "negative_prompt": "",
        "sd_vae": "",
        "loras": [],
        "embeddings": [],
        "enterprise_plan": False,
    }

    assert field_map.flatten(body) == dict.fromkeys(field_map.NAMES) | empty | {
        "enable_transparent_background": False,
        "restore_faces": False,
        **fields,
    }
    assert body.to_wire() == field_map.nest(fields)


def test_nest_leaves_out_unset_fields() -> None:
    unset = {
        "negative_prompt": "",
        "sd_vae": "",
        "clip_skip": None,
        "loras": [],
        "embeddings": (),
        "hires_fix": None,
        "refiner_switch_at": None,
        "restore_faces": False,
        "custom_storage": None,
        "enterprise_plan": False,
        "webhook_url": "",
    }

    assert field_map.nest(PLAIN | unset) == field_map.nest(PLAIN)
    assert set(field_map.nest(PLAIN)["extra"]) == {
        "response_image_type",
        "enable_nsfw_detection",
        "nsfw_detection_level",
    }


def test_nest_leaves_out_unset_values_inside_a_field() -> None:
    hires = {"target_width": 128, "target_height": 128, "strength": 0, "upscaler": None}
    storage = {"aws_s3": {"region": "r", "bucket": "b", "path": "", "save_to_path_directly": False}}
    body = field_map.nest(PLAIN | {"hires_fix": hires, "custom_storage": storage})

    assert body["request"]["hires_fix"] == {
        "target_width": 128,
        "target_height": 128,
        "strength": 0,
    }
    assert body["extra"]["custom_storage"] == {"aws_s3": {"region": "r", "bucket": "b", "path": ""}}
