"""The flat inputs of the form and the nested fields of a request: five rows of LoRAs are one list,
and so on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django import forms

from generation.forms.fields import fraction, name
from generation.services.validation import FIELDS
from generation.wire import field_map
from generation.wire import txt2img as wire

LORA_ROWS = range(1, wire.LORAS_MAX + 1)
EMBEDDING_ROWS = range(1, wire.EMBEDDINGS_MAX + 1)
STRENGTH_DEFAULT = "0.8"
_HIRES = {
    "target_width": "hires_width",
    "target_height": "hires_height",
    "strength": "hires_strength",
    "upscaler": "hires_upscaler",
}
_S3 = {
    "region": "s3_region",
    "bucket": "s3_bucket",
    "path": "s3_path",
    "save_to_path_directly": "s3_save_to_path_directly",
}
# The fields that the list of models can fill in, and which of its types each takes.
PICKED = {
    "model_name": "checkpoint",
    "sd_vae": "vae",
    **{f"lora_{row}_name": "lora" for row in LORA_ROWS},
    **{f"embedding_{row}_name": "textualinversion" for row in EMBEDDING_ROWS},
}
SECTIONS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    (
        "loras",
        "LoRAs",
        f"up to {wire.LORAS_MAX}",
        tuple(f"lora_{row}_{part}" for row in LORA_ROWS for part in ("name", "strength")),
    ),
    (
        "embeddings",
        "Embeddings",
        f"up to {wire.EMBEDDINGS_MAX}",
        tuple(f"embedding_{row}_name" for row in EMBEDDING_ROWS),
    ),
    (
        "model",
        "VAE, clip skip and refiner",
        "how the model works",
        ("sd_vae", "clip_skip", "refiner_switch_at"),
    ),
    ("hires", "Hires fix", "a larger picture from a small one", tuple(_HIRES.values())),
    (
        "finish",
        "Background and faces",
        "what is done at the end",
        ("enable_transparent_background", "restore_faces"),
    ),
    (
        "delivery",
        "Delivery",
        "image type, NSFW detection, storage, plan",
        (
            "response_image_type",
            "enable_nsfw_detection",
            "nsfw_detection_level",
            *_S3.values(),
            "enterprise_plan",
        ),
    ),
)


def fields() -> dict[str, forms.Field]:
    """The inputs of the rows, which are the same over and over."""
    found: dict[str, forms.Field] = {}
    for row in LORA_ROWS:
        found[f"lora_{row}_name"] = name(f"LoRA {row}")
        found[f"lora_{row}_strength"] = fraction(
            "strength",
            f"Strength of LoRA {row}",
            required=False,
            initial=STRENGTH_DEFAULT,
            help_text="",
        )  # the range stands over the rows
    for row in EMBEDDING_ROWS:
        found[f"embedding_{row}_name"] = name(f"Embedding {row}")
    return found


def gather(cleaned: Mapping[str, Any]) -> dict[str, Any]:
    """The request's fields from the form's."""
    values = {name: cleaned[name] for name in FIELDS if name in cleaned}
    values["loras"] = [
        {"model_name": cleaned[f"lora_{row}_name"], "strength": cleaned[f"lora_{row}_strength"]}
        for row in _filled("lora", LORA_ROWS, cleaned)
    ]
    values["embeddings"] = [
        {"model_name": cleaned[f"embedding_{row}_name"]}
        for row in _filled("embedding", EMBEDDING_ROWS, cleaned)
    ]
    if _wants_hires(cleaned):
        hires = {name: cleaned[field] for name, field in _HIRES.items() if cleaned[field]}
        values["hires_fix"] = {**hires, "strength": cleaned["hires_strength"]}
    if _wants_storage(cleaned):
        values["custom_storage"] = {"aws_s3": {name: cleaned[field] for name, field in _S3.items()}}
    return values


def spread(values: Mapping[str, Any]) -> dict[str, Any]:
    """The form's fields from the request's; the way back of ``gather``."""
    initial = {
        name: value
        for name, value in values.items()
        if name not in ("loras", "embeddings", "hires_fix")
    }
    storage = initial.pop("custom_storage", None)
    for row, lora in zip(LORA_ROWS, values.get("loras") or [], strict=False):
        initial |= {
            f"lora_{row}_name": lora["model_name"],
            f"lora_{row}_strength": lora["strength"],
        }
    for row, embedding in zip(EMBEDDING_ROWS, values.get("embeddings") or [], strict=False):
        initial[f"embedding_{row}_name"] = embedding["model_name"]
    if hires := values.get("hires_fix"):
        initial |= {field: hires.get(part) for part, field in _HIRES.items()}
    if storage:
        initial |= {field: storage["aws_s3"].get(part) for part, field in _S3.items()}
    return initial


def incomplete(cleaned: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Fields that others of their group make necessary, with what is demanded of them."""
    for row in _filled("lora", LORA_ROWS, cleaned):
        if cleaned.get(f"lora_{row}_strength") is None:
            yield f"lora_{row}_strength", wire.demand("strength")
    if _wants_hires(cleaned):
        for name in ("target_width", "target_height", "strength"):
            if cleaned.get(_HIRES[name]) is None:
                yield _HIRES[name], wire.demand(name)
    if _wants_storage(cleaned):
        for name in ("region", "bucket"):
            if not cleaned.get(_S3[name]):
                yield _S3[name], "must not be empty"


def field_at(path: tuple[int | str, ...], cleaned: Mapping[str, Any]) -> str:
    """The form's field that stands at a place in the body; "" if none does."""
    inner = path[-1] if path else ""
    if len(path) == 4 and path[1] in ("loras", "embeddings") and isinstance(path[2], int):
        kind, rows = ("lora", LORA_ROWS) if path[1] == "loras" else ("embedding", EMBEDDING_ROWS)
        part = "strength" if inner == "strength" else "name"
        return f"{kind}_{list(_filled(kind, rows, cleaned))[path[2]]}_{part}"
    if path[1:2] == ("hires_fix",):
        return _HIRES.get(str(inner), "")
    if path[1:2] == ("custom_storage",):
        return _S3.get(str(inner), "")
    return next((name for name, place in field_map.PATHS.items() if place == path), "")


def _filled(kind: str, rows: range, cleaned: Mapping[str, Any]) -> Iterator[int]:
    return (row for row in rows if cleaned.get(f"{kind}_{row}_name"))


def _wants_hires(cleaned: Mapping[str, Any]) -> bool:
    return any(cleaned.get(_HIRES[name]) for name in ("target_width", "target_height", "upscaler"))


def _wants_storage(cleaned: Mapping[str, Any]) -> bool:
    return any(cleaned.get(field) for field in _S3.values())
