"""Words as they are looked for: one way to fold them, for what is stored, for what is asked and for
what is marked.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

TEXT_MAX: Final = 20_000  # characters of one image's text that are looked at
WORD_MAX: Final = 64  # a longer word is cut, in the index as in the question
_BETWEEN = re.compile(r"[\W_]+")


def fold(text: str) -> str:
    """Lower case, without accents and punctuation, with one space between words.

    Both databases cut such a text into the same words. Prompts as people write them they do not:
    one takes ``castle.night`` for the name of a host, the other for two words.
    """
    text = text[:TEXT_MAX]
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text)
        text = "".join(letter for letter in text if unicodedata.category(letter) != "Mn")[:TEXT_MAX]
    return " ".join(word[:WORD_MAX] for word in _BETWEEN.split(text.casefold()) if word)
