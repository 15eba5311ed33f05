"""Parameters of a request for its page: grouped, labelled, without unset fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from generation.forms.request_form import LEVELS
from generation.models import GenerationRequest


@dataclass(frozen=True)
class Fact:
    """One labelled parameter."""

    label: str
    value: str
    is_data: bool = True  # shown in a monospaced font: names, numbers


@dataclass(frozen=True)
class Group:
    """A titled group of parameters."""

    title: str
    facts: list[Fact]


def group_facts(item: GenerationRequest, provider: str) -> list[Group]:
    """Return the parameters of a request in groups, without the prompts."""
    found = (
        Group("Parameters", _list_parameters(item, provider)),
        Group(
            "LoRAs",
            [
                Fact(f"LoRA {place}", f"{row['model_name']} at {_format_number(row['strength'])}")
                for place, row in enumerate(item.loras, start=1)
            ],
        ),
        Group(
            "Embeddings",
            [
                Fact(f"Embedding {place}", row["model_name"])
                for place, row in enumerate(item.embeddings, start=1)
            ],
        ),
        Group("Hires fix", _list_hires_fix(item.hires_fix or {})),
        Group("Delivery", _list_delivery(item)),
    )
    return [group for group in found if group.facts]


def _list_parameters(item: GenerationRequest, provider: str) -> list[Fact]:
    facts = [
        Fact("Provider", provider, is_data=False),
        Fact("Model", item.model_name),
        Fact("Size", f"{item.width} × {item.height}"),
        Fact("Images", str(item.image_num)),
        Fact("Steps", str(item.steps)),
        Fact("Guidance", _format_number(item.guidance_scale)),
        Fact("Sampler", item.sampler_name, is_data=False),
        Fact("Seed", str(item.seed)),
    ]
    if item.sd_vae:
        facts.append(Fact("VAE", item.sd_vae))
    if item.clip_skip is not None:
        facts.append(Fact("Clip skip", str(item.clip_skip)))
    if item.refiner_switch_at is not None:
        facts.append(Fact("Refiner from", _format_number(item.refiner_switch_at)))
    if item.enable_transparent_background:
        facts.append(Fact("Background", "transparent", is_data=False))
    if item.restore_faces:
        facts.append(Fact("Faces", "restored", is_data=False))
    return facts


def _list_hires_fix(fix: dict[str, Any]) -> list[Fact]:
    if not fix:
        return []
    facts = [
        Fact("Size", f"{fix['target_width']} × {fix['target_height']}"),
        Fact("Strength", _format_number(fix["strength"])),
    ]
    return [*facts, Fact("Upscaler", fix["upscaler"])] if fix.get("upscaler") else facts


def _list_delivery(item: GenerationRequest) -> list[Fact]:
    level = LEVELS.get(item.nsfw_detection_level, str(item.nsfw_detection_level))
    facts = [
        Fact("Image type", item.response_image_type, is_data=False),
        Fact("Detection", level if item.enable_nsfw_detection else "not asked for", is_data=False),
    ]
    if storage := (item.custom_storage or {}).get("aws_s3"):
        facts += [
            Fact("S3 region", storage["region"]),
            Fact("S3 bucket", storage["bucket"]),
            Fact("S3 path", storage["path"] or "the bucket's root"),
        ]
        if storage.get("save_to_path_directly"):
            facts.append(Fact("Files", "directly in the path", is_data=False))
    if item.enterprise_plan:
        facts.append(Fact("Plan", "enterprise", is_data=False))
    return facts


def _format_number(value: object) -> str:
    """Format 7.0 as 7, and every other number with all of its digits."""
    return str(value).removesuffix(".0")
