"""Excerpts of prompts, with the search words marked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from generation.core.text import fold_text
from generation.models import Asset
from moderation.search.query import Term

LENGTH = 180
LEAD = 40  # characters shown before the first marked word
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class TextSpan:
    """A part of an excerpt."""

    text: str
    is_match: bool = False


def source_text(asset: Asset) -> str:
    """Return the original prompt, or the file name without one."""
    if asset.request is not None:
        return asset.request.prompt
    elsewhere = asset.metadata.get("scenario")
    prompt = str(elsewhere.get("prompt", "")) if isinstance(elsewhere, dict) else ""
    return prompt or asset.original_name


def build_excerpt(text: str, terms: Sequence[Term]) -> list[TextSpan]:
    text = " ".join(text.split())
    spans = list(_iter_matches(text, terms))
    start = 0
    if spans and spans[0][0] > LENGTH - LEAD:
        start = text.rfind(" ", 0, spans[0][0] - LEAD) + 1
    end = start + LENGTH
    pieces = [TextSpan("… ")] if start else []
    at = start
    for first, last in spans:
        if first < start or last > end:
            continue
        pieces += [TextSpan(text[at:first]), TextSpan(text[first:last], is_match=True)]
        at = last
    pieces.append(TextSpan(text[at:end] + (" …" if end < len(text) else "")))
    return [piece for piece in pieces if piece.text]


def _iter_matches(text: str, terms: Sequence[Term]) -> Iterator[tuple[int, int]]:
    whole = {word for term in terms for word in term.whole_words}
    prefixes = tuple(term.prefix for term in terms if term.prefix)
    for match in _WORD.finditer(text):
        word = match[0].casefold() if match[0].isascii() else fold_text(match[0])
        if word in whole or (prefixes and word.startswith(prefixes)):
            yield match.span()
