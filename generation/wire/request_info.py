"""``extra.debug_info.request_info`` of Novita's task result: JSON inside text.

Source: the examples of https://novita.ai/docs/api-reference/model-apis-txt2img have these keys in
this order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

# Key in request_info, and the name in the submitted ``request``.
_RENAMED = {
    "model": "model_name",
    "height": "height",
    "width": "width",
    "guidance_scale": "guidance_scale",
    "num_images_per_prompt": "image_num",
    "num_inference_steps": "steps",
    "sampler_name": "sampler_name",
}
_NOT_REPEATED = {*_RENAMED.values(), "prompt", "negative_prompt", "seed"}


def dump_request_info(request: Mapping[str, Any], seeds: Sequence[int]) -> str:
    """Return the JSON for a submitted ``request``.

    Fields without a documented key keep their name.
    """
    renamed = {key: request[name] for key, name in _RENAMED.items()}
    others = {
        name: value
        for name, value in request.items()
        if name not in _NOT_REPEATED and value not in (None, False, [])
    }
    return json.dumps(
        {
            "model": renamed.pop("model"),
            "prompts": [request["prompt"]],
            "negative_prompts": [request.get("negative_prompt") or ""],
            "seeds": list(seeds),
            **renamed,
            **others,
        },
        ensure_ascii=False,
    )
