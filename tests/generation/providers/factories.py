from __future__ import annotations

from typing import Any

from generation.providers.base import Submission

PLAIN: dict[str, Any] = {
    "model_name": "m",
    "prompt": "p",
    "width": 512,
    "height": 512,
    "image_num": 1,
    "steps": 20,
    "guidance_scale": 7.5,
    "sampler_name": "Euler a",
    "seed": 0,
    "response_image_type": "png",
    "enable_nsfw_detection": False,
    "nsfw_detection_level": 0,
}


def make_submission(*, webhook_url: str = "", **fields: Any) -> Submission:
    return Submission(PLAIN | fields, webhook_url)
