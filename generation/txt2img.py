"""The last word before a txt2img request is recorded: the documented ranges, and what Loupe itself can store.

Form, API and demo all go through ``validate``. The ranges are ``generation.wire.txt2img``'s; only what no provider
documents is decided here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from generation import offers
from generation.wire import flat
from generation.wire.txt2img import Problem, Txt2ImgBody, problems, sentence

FIELDS = flat.NAMES
NAME_MAX = 255  # characters of a model's name that the columns hold
GUIDANCE_PLACES = Decimal("0.01")
SWITCH_PLACES = Decimal("0.001")
NUL = "must not contain a NUL character"
SURROGATE = "must not contain half a character (a lone surrogate)"


class InvalidFields(ValueError):
    """``str(error)`` is a sentence; ``problems`` has each one with its place in the body."""

    def __init__(self, found: Sequence[Problem]) -> None:
        super().__init__(sentence(found))
        self.problems = list(found)


def validate(fields: Mapping[str, Any], *, provider: str = "") -> dict[str, Any]:
    """Every field that ``create_request`` takes, with the documented defaults. Raises InvalidFields.

    Guidance is rounded to two decimals and the refiner's switch to three, which is what the columns hold. Whether a
    model is SDXL is checked only as far as ``provider``'s lists are known.
    """
    body = flat.nest({name: fields[name] for name in FIELDS if name in fields})
    if found := [problem for path, text in _texts(body) if (problem := _unstorable(path, text))]:
        raise InvalidFields(found)
    try:
        accepted = Txt2ImgBody.model_validate(body)
    except ValidationError as error:
        raise InvalidFields(problems(error)) from None
    if found := [*_too_long(body), *_not_sdxl(accepted, provider)]:
        raise InvalidFields(found)
    values = flat.flatten(accepted)
    values["guidance_scale"] = values["guidance_scale"].quantize(GUIDANCE_PLACES)
    if values["refiner_switch_at"] is not None:
        values["refiner_switch_at"] = values["refiner_switch_at"].quantize(SWITCH_PLACES)
    return values


def _unstorable(path: tuple[int | str, ...], text: str) -> Problem | None:
    """PostgreSQL takes neither, whether in a text or in JSON."""
    if "\0" in text:
        return Problem(path, NUL)
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        return Problem(path, SURROGATE)
    return None


def _too_long(body: Mapping[str, Any]) -> Iterator[Problem]:
    for path, text in _texts(body):
        if path[-1] not in ("prompt", "negative_prompt") and len(text) > NAME_MAX:
            yield Problem(path, f"must have at most {NAME_MAX} characters")


def _not_sdxl(body: Txt2ImgBody, provider: str) -> Iterator[Problem]:
    if not body.request.enable_transparent_background:
        return
    if offers.is_sdxl(provider, body.request.model_name) is False:
        path = ("request", "enable_transparent_background")
        yield Problem(path, f"needs an SDXL model, and {body.request.model_name} is none")


def _texts(value: Any, path: tuple[int | str, ...] = ()) -> Iterator[tuple[tuple[int | str, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, (*path, name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _texts(inner, (*path, place))
