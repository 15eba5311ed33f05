"""Presets of the request form, with models of the sandbox.

They follow the six examples of https://novita.ai/docs/api-reference/model-apis-txt2img. The
prompts are our own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_PLAIN: dict[str, Any] = {
    "model_name": "clearwater_v5_55191.safetensors",
    "prompt": "a lighthouse on a cliff above the sea, morning light, photograph",
    "negative_prompt": "blurry, watermark, text",
    "width": 512,
    "height": 512,
    "image_num": 2,
    "steps": 20,
    "guidance_scale": 7.5,
    "sampler_name": "Euler a",
}


@dataclass(frozen=True)
class Preset:
    title: str
    about: str
    # Values that differ from an empty form, by the names of ``generation.wire.field_map``.
    fields: dict[str, Any]


PRESETS = {
    "basic": Preset("Basic", "Prompt, model and size. Everything else has its default.", _PLAIN),
    "lora": Preset(
        "LoRA",
        "Two LoRAs change the model's style, each by its strength.",
        _PLAIN
        | {
            "prompt": "a reading room in an old library, layered paper, warm light",
            "loras": [
                {"model_name": "paper_layers_68243", "strength": 0.7},
                {"model_name": "fine_grain_film_68152", "strength": 0.4},
            ],
        },
    ),
    "embeddings": Preset(
        "Embeddings",
        "Embeddings replace long descriptions. These avoid common faults.",
        _PLAIN
        | {
            "model_name": "juniper_photo_v9_55321.safetensors",
            "prompt": "portrait of a potter at the wheel, window light",
            "embeddings": [
                {"model_name": "careful_hands_94100.pt"},
                {"model_name": "no_watermark_94126.pt"},
            ],
            "clip_skip": 2,
        },
    ),
    "hires-fix": Preset(
        "Hires fix",
        "The image is drawn small, enlarged, and drawn over.",
        _PLAIN
        | {
            "prompt": "a mountain valley with a winding river, autumn, wide view",
            "hires_fix": {
                "target_width": 1024,
                "target_height": 1024,
                "strength": 0.5,
                "upscaler": "RealESRGAN_x4plus_anime_6B",
            },
        },
    ),
    "refiner": Preset(
        "Refiner",
        "An SDXL model hands over to its refiner for the last steps.",
        _PLAIN
        | {
            "model_name": "meridian_xl_v5_55360.safetensors",
            "prompt": "a glass pavilion in a winter garden, architecture photograph",
            "width": 1024,
            "height": 1024,
            "refiner_switch_at": 0.7,
        },
    ),
    "nsfw-detection": Preset(
        "NSFW detection",
        "The provider classifies each image and returns a score.",
        _PLAIN
        | {
            "prompt": "a crowded beach in summer, seen from the dunes",
            "enable_nsfw_detection": True,
            "nsfw_detection_level": 2,
        },
    ),
}
