"""Final validation of a txt2img request: documented ranges, and limits of Loupe's storage.

Used by form, API and demo. The ranges come from ``generation.wire.txt2img``; this module adds only
limits that no provider documents.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from generation.imaging.rendition import find_shape_problem
from generation.services import model_catalog
from generation.wire import field_map
from generation.wire.base import is_object
from generation.wire.txt2img import Problem, Txt2ImgBody, problems, sentence

FIELDS = field_map.NAMES
NAME_MAX = 255  # characters of a model's name that the columns hold
LONG_TEXTS = {field.path for field in field_map.FIELDS.values() if field.is_long_text}
NUL = "must not contain a NUL character"
SURROGATE = "must not contain half a character (a lone surrogate)"
BLANK = "must contain a visible character"
_INVISIBLE_CATEGORIES = ("Cc", "Cf", "Cs", "Me", "Mn", "Zl", "Zp", "Zs")
# Hangul and Braille fillers: Unicode classes them as letters or symbols, but they are invisible.
_INVISIBLE = "\u115f\u1160\u3164\uffa0\u2800"
_TRANSPARENCY = ("request", "enable_transparent_background")


class InvalidFieldsError(ValueError):
    """Invalid fields; ``problems`` holds each problem with its path in the body."""

    def __init__(self, found: Sequence[Problem]) -> None:
        super().__init__(sentence(found))
        self.problems = list(found)


def validate_fields(fields: Mapping[str, Any], *, provider: str = "") -> dict[str, Any]:
    """Return all fields for ``create_request``, with the documented defaults.

    Raises InvalidFieldsError; CatalogUnavailableError when the model must be checked and the
    provider's list cannot be read.
    """
    body = check_body(field_map.nest({name: fields[name] for name in FIELDS if name in fields}))
    check_model(body, provider)
    return field_map.flatten(body)


def check_body(given: Any) -> Txt2ImgBody:
    """Parse a submitted body.

    Raises InvalidFieldsError with all problems found.
    """
    found: list[Problem] = []
    if is_object(given):
        found += _find_unstorable_texts(given)
    body = None
    try:
        body = Txt2ImgBody.model_validate(given)
    except ValidationError as error:
        found += problems(error)
    if is_object(given):
        found += [*_find_long_names(given), *_find_blank_prompt(given)]
    if body is not None:
        found += _find_unstorable_sizes(body)
    if found or body is None:
        raise InvalidFieldsError(
            list({problem.path: problem for problem in reversed(found)}.values())[::-1]
        )
    return body


def check_model(body: Txt2ImgBody, provider: str) -> None:
    """Refuse a transparent background for a model that is listed as not SDXL.

    A model that is not listed is left to the provider, which refuses it without charge. Raises
    InvalidFieldsError, and CatalogUnavailableError when the list cannot be read.
    """
    if not body.request.enable_transparent_background:
        return
    if model_catalog.is_sdxl(provider, body.request.model_name) is False:
        raise InvalidFieldsError(
            [Problem(_TRANSPARENCY, f"needs an SDXL model, and {body.request.model_name} is none")]
        )


def is_blank(text: str) -> bool:
    """Return whether a text has no visible character.

    Invisible are spaces, zero-width characters, fillers and combining marks alone.
    """
    return all(
        letter in _INVISIBLE or unicodedata.category(letter) in _INVISIBLE_CATEGORIES
        for letter in text
    )


def _find_unstorable_texts(body: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield texts that PostgreSQL cannot store, as text or JSON: NUL and lone surrogates."""
    for path, text in _walk_known_texts(body):
        if "\0" in text:
            yield Problem(path, NUL)
        elif any("\ud800" <= letter <= "\udfff" for letter in text):
            yield Problem(path, SURROGATE)


def _find_long_names(body: Mapping[str, Any]) -> Iterator[Problem]:
    for path, text in _walk_known_texts(body):
        if path not in LONG_TEXTS and len(text) > NAME_MAX:
            yield Problem(path, f"must have at most {NAME_MAX} characters")


def _find_blank_prompt(body: Mapping[str, Any]) -> Iterator[Problem]:
    prompt = _get_path(body, field_map.PATHS["prompt"])
    if isinstance(prompt, str) and prompt and is_blank(prompt):
        yield Problem(field_map.PATHS["prompt"], BLANK)


def _find_unstorable_sizes(body: Txt2ImgBody) -> Iterator[Problem]:
    """Yield sizes that the decoder would refuse after the image is paid for."""
    request, hires = body.request, body.request.hires_fix
    sizes: list[tuple[tuple[str, ...], int, int]] = [
        (("request", "width"), request.width, request.height)
    ]
    if hires:
        sizes.append(
            (("request", "hires_fix", "target_width"), hires.target_width, hires.target_height)
        )
    for path, width, height in sizes:
        if problem := find_shape_problem(width, height):
            yield Problem(
                path, f"and its height make an image that {problem[1]}, which cannot be stored"
            )


def _walk_known_texts(body: Mapping[str, Any]) -> Iterator[tuple[tuple[int | str, ...], str]]:
    for name in FIELDS:
        yield from _walk_texts(_get_path(body, field_map.PATHS[name]), field_map.PATHS[name])


def _get_path(body: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        body = body.get(part) if is_object(body) else None
    return body


def _walk_texts(
    value: Any, path: tuple[int | str, ...]
) -> Iterator[tuple[tuple[int | str, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _walk_texts(inner, (*path, name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _walk_texts(inner, (*path, place))
