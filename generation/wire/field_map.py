"""The nested body of txt2img as one flat set of names: those of our columns, of the form and of
``Submission``.

``nest`` and ``flatten`` are each other's way back. Ranges and defaults are those of
``generation.wire.txt2img``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from generation.wire.txt2img import Txt2ImgBody

_REQUIRED = (
    "model_name",
    "prompt",
    "width",
    "height",
    "image_num",
    "steps",
    "guidance_scale",
    "sampler_name",
)
# Sent even when they are false or 0, so that a task says by itself what was asked of it.
_ALWAYS = (
    *_REQUIRED,
    "seed",
    "response_image_type",
    "enable_nsfw_detection",
    "nsfw_detection_level",
)

PATHS: dict[str, tuple[str, ...]] = {
    "model_name": ("request", "model_name"),
    "prompt": ("request", "prompt"),
    "negative_prompt": ("request", "negative_prompt"),
    "width": ("request", "width"),
    "height": ("request", "height"),
    "image_num": ("request", "image_num"),
    "steps": ("request", "steps"),
    "guidance_scale": ("request", "guidance_scale"),
    "sampler_name": ("request", "sampler_name"),
    "seed": ("request", "seed"),
    "sd_vae": ("request", "sd_vae"),
    "clip_skip": ("request", "clip_skip"),
    "loras": ("request", "loras"),
    "embeddings": ("request", "embeddings"),
    "hires_fix": ("request", "hires_fix"),
    "refiner_switch_at": ("request", "refiner", "switch_at"),
    "enable_transparent_background": ("request", "enable_transparent_background"),
    "restore_faces": ("request", "restore_faces"),
    "response_image_type": ("extra", "response_image_type"),
    "enable_nsfw_detection": ("extra", "enable_nsfw_detection"),
    "nsfw_detection_level": ("extra", "nsfw_detection_level"),
    "custom_storage": ("extra", "custom_storage"),
    "enterprise_plan": ("extra", "enterprise_plan", "enabled"),
    "webhook_url": ("extra", "webhook", "url"),
}
# All but the webhook's address, which is a secret and never a field that a person fills in.
NAMES = tuple(name for name in PATHS if name != "webhook_url")
_EMPTY: dict[str, Any] = {
    "negative_prompt": "",
    "sd_vae": "",
    "enterprise_plan": False,
}  # the other ones: None


def nest(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The body, with what is set and nothing else: no null, no empty list, no flag that is off."""
    body: dict[str, Any] = {"extra": {}, "request": {}}
    for name, path in PATHS.items():
        value = fields.get(name)
        if value is None or (name not in _ALWAYS and _is_unset(value)):
            continue
        place = body
        for part in path[:-1]:
            place = place.setdefault(part, {})
        place[path[-1]] = _plain(value)
    return body


def flatten(body: Txt2ImgBody) -> dict[str, Any]:
    """Every one of NAMES, with the documented defaults where the body says nothing."""
    nested = body.model_dump(exclude_none=True)
    fields = {}
    for name in NAMES:
        value: Any = nested
        for part in PATHS[name]:
            value = value.get(part) if value else None
        fields[name] = _EMPTY.get(name) if value is None else value
    return fields


def _is_unset(value: Any) -> bool:
    return value is False or (isinstance(value, str | list | tuple | dict) and not value)


def _plain(value: Any) -> Any:
    """As JSON has it: lists of objects, and in those objects only what is set."""
    if isinstance(value, Mapping):
        return {
            name: _plain(inner)
            for name, inner in value.items()
            if inner is not None and inner is not False
        }
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
