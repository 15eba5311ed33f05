"""Folding of search words: one function for stored text, queries and highlights."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

TEXT_MAX: Final = 20_000  # characters of one image's text that are indexed
WORD_MAX: Final = 64  # a longer word is cut, in the index and in queries
_BETWEEN = re.compile(r"[\W_]+")


def fold_text(text: str) -> str:
    """Return lower-case words without accents and punctuation, separated by one space.

    Both databases split such text into the same words. Unfolded prompts are split differently: one
    treats ``castle.night`` as a host name, the other as two words.
    """
    text = text[:TEXT_MAX]
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text)
        text = "".join(letter for letter in text if unicodedata.category(letter) != "Mn")[:TEXT_MAX]
    return " ".join(word[:WORD_MAX] for word in _BETWEEN.split(text.casefold()) if word)
