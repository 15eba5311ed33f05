"""Reads the answer of a vision-language model, strictly.

The model has read the picture, so an answer may hold whatever somebody wrote into it. It is used
as a whole or not at all: one JSON object with exactly the keys of the schema and their types.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from moderation.classifiers import vlm_prompt

CHARACTERS_MAX = 20_000  # of an answer; a complete one has about 2000
REASON_MAX, DESCRIPTION_MAX = 200, 300  # characters that are kept
# One code fence around the whole answer; three backticks inside would end it.
_FENCE = re.compile(r"```(?:json)?[ \t]*\n((?:(?!```).)*)\n```", re.DOTALL)


class AnswerError(ValueError):
    """An answer that cannot be used; the message completes "The answer …"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A model's answer."""

    image_visible: bool
    description: str
    addresses_the_moderator: bool
    stated: dict[str, int]  # category slug to the model's own number, 0..100
    reasons: dict[str, str]  # L1 slug to words; "" without any

    def list_found(self) -> list[str]:
        """Return the slugs with a number from the floor on, the highest first."""
        found = [slug for slug, number in self.stated.items() if number >= vlm_prompt.FLOOR]
        return sorted(found, key=lambda slug: -self.stated[slug])


def parse_answer(text: str) -> Answer:
    """Parse an answer. Raises AnswerError."""
    groups = vlm_prompt.list_groups()
    answer = _read_object(
        _load(text),
        ["image_visible", "description", "addresses_the_moderator", *groups],
        "the answer",
    )
    stated, reasons = dict[str, int](), dict[str, str]()
    for slug, keys in groups.items():
        group = _read_object(answer[slug], ["reason", *keys], slug)
        reasons[slug] = _read_text(group["reason"], f"{slug}.reason", REASON_MAX)
        for key, category in keys.items():
            stated[category] = _read_number(group[key], f"{slug}.{key}")
    description = _read_text(answer["description"], "description", DESCRIPTION_MAX)
    visible = _read_boolean(answer["image_visible"], "image_visible")
    if visible and not description:
        raise AnswerError("does not describe the image")
    return Answer(
        image_visible=visible,
        description=description,
        addresses_the_moderator=_read_boolean(
            answer["addresses_the_moderator"], "addresses_the_moderator"
        ),
        stated=stated,
        reasons=reasons,
    )


def _load(text: str) -> Any:
    if len(text) > CHARACTERS_MAX:
        raise AnswerError(f"is longer than {CHARACTERS_MAX} characters")
    bare = text.strip()
    if fenced := _FENCE.fullmatch(bare):
        bare = fenced[1]
    try:
        return json.loads(bare, object_pairs_hook=_read_pairs, parse_constant=_refuse_constant)
    except AnswerError:
        raise
    except (ValueError, RecursionError):
        raise AnswerError("is not one JSON object and nothing else") from None


def _read_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object; a key that comes twice could hide its first value."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise AnswerError("has a key twice")
    return found


def _refuse_constant(name: str) -> None:
    raise AnswerError(f"contains {name}, which is not JSON")


def _read_object(value: Any, keys: Collection[str], name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise AnswerError(f"has no object where {name} belongs")
    if missing := [key for key in keys if key not in value]:
        raise AnswerError(f"lacks {missing[0]} in {name}")
    if len(value) > len(keys):
        raise AnswerError(f"has keys in {name} that were not asked for")
    return value


def _read_number(value: Any, name: str) -> int:
    if type(value) is not int or not 0 <= value <= 100:  # True is an int, and must not pass
        raise AnswerError(f"has no whole number from 0 to 100 as {name}")
    return value


def _read_boolean(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise AnswerError(f"has neither true nor false as {name}")
    return value


def _read_text(value: Any, name: str, length: int) -> str:
    """Return a text in one line, without characters that a page cannot show or that reorder it."""
    if not isinstance(value, str):
        raise AnswerError(f"has no text as {name}")
    shown = "".join(" " if unicodedata.category(char)[0] == "C" else char for char in value)
    line = " ".join(shown.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"
