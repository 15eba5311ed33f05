"""The groups of facts on a request's page. Fields that are not set are left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from generation.forms import rows
from generation.forms.rows import FormInput
from generation.models import GenerationRequest
from generation.wire import field_map
from generation.wire.txt2img import NSFW_LEVEL_LABELS

# Sections of the form, by the group that shows them.
GROUPS = {
    "Parameters": ("what", "how", "model", "finish"),
    "LoRAs": ("loras",),
    "Embeddings": ("embeddings",),
    "Hires fix": ("hires",),
    "Delivery": ("delivery",),
}


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
    """Return the facts about a request, without its prompts."""
    found = [Group(title, _list_facts(item, sections)) for title, sections in GROUPS.items()]
    found[0].facts.insert(0, Fact("Provider", provider, is_data=False))
    return [group for group in found if group.facts]


def _list_facts(item: GenerationRequest, sections: tuple[str, ...]) -> list[Fact]:
    """Return the facts of some sections, in the order of the wire."""
    values = {name: getattr(item, name) for name in field_map.NAMES}
    order = list(field_map.NAMES)
    inputs = [
        one for one in rows.INPUTS.values() if one.input.section in sections and one.input.has_fact
    ]
    inputs.sort(key=lambda one: order.index(one.stored))
    # A choice is a word, but for the upscaler, which is the name of a model.
    words = {one.name for one in inputs if one.field.kind is bool or one.field.choices}
    words.discard("hires_upscaler")
    return [
        Fact(one.input.fact or one.label, text, is_data=one.name not in words)
        for one in inputs
        if (text := _describe_value(one, values))
    ]


def _describe_value(one: FormInput, values: dict[str, Any]) -> str:
    """Return the value of an input in words; "" where it is not set."""
    value = one.read(values)
    match one.name:
        case "width":
            return f"{value} × {values['height']}"
        case "hires_width":
            return f"{value} × {values['hires_fix']['target_height']}" if value else ""
        case "enable_nsfw_detection":
            return _describe_detection(value, values["nsfw_detection_level"])
        case "s3_path" if value == "":
            return "the bucket's root"
    if value is None or value is False:
        return ""
    if value is True:
        return one.input.fact_value or "yes"
    if one.stored == "loras":
        return f"{value} at {_format_number(values['loras'][one.row]['strength'])}"
    return _format_number(value)


def _describe_detection(is_on: bool, level: int) -> str:
    return NSFW_LEVEL_LABELS.get(level, str(level)) if is_on else "not requested"


def _format_number(value: object) -> str:
    """Return 7 for 7.0, and every other value with all of its digits."""
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)
