"""Parser of the search text: an id, a hash, a number, or words of a prompt.

Any input is valid or raises QueryError with a message for the user.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from uuid import UUID

from generation.core.text import fold_text

TEXT_MAX = 500
TERMS_MAX = 16
SEED_MAX = 2**63 - 1
UUID_TEXT = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHORT_ID = re.compile(r"[0-9a-f]{8}[0-9a-f-]{0,27}")
_HASH = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"[0-9]{1,19}")
_QUOTES = str.maketrans("“”„«»", '"' * 5)
# looks:word or looks:"several words", closed by a quote or the end of the text.
_LOOKS = re.compile(r'(?<![^ ])looks:(?: ?"(?P<phrase>[^"]*)"?|(?P<word>[^\s"]*))', re.IGNORECASE)
# A quoted phrase, closed by a quote or the end of the text; or characters between spaces.
_TOKEN = re.compile(r'(?P<sign>-?)"(?P<phrase>[^"]*)(?:"(?P<star>\*?)|$)|(?P<word>[^\s"]+)')


class QueryError(ValueError):
    """A search text that cannot be parsed. ``str(error)`` says what to type instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One word or a phrase, folded: it contains no database syntax."""

    words: tuple[str, ...]
    is_prefix: bool = False  # the last word is a prefix
    is_excluded: bool = False

    @property
    def needle(self) -> str:
        """The substring to search in a folded text that is padded with spaces."""
        return f" {' '.join(self.words)}" + ("" if self.is_prefix else " ")

    @property
    def whole_words(self) -> tuple[str, ...]:
        return self.words[:-1] if self.is_prefix else self.words

    @property
    def prefix(self) -> str:
        return self.words[-1] if self.is_prefix else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """The possible readings of the text: eight digits may be a seed, an id prefix, and a word."""

    uuid: UUID | None = None
    id_range: tuple[UUID, UUID] | None = None
    digest: str = ""
    number: int | None = None
    terms: tuple[Term, ...] = ()
    looks: str = ""  # words that the images should look like

    @property
    def wanted(self) -> tuple[Term, ...]:
        return tuple(term for term in self.terms if not term.is_excluded)


def parse(text: str) -> Query:
    text = " ".join(text.replace("\0", " ").translate(_QUOTES).split())
    if len(text) > TEXT_MAX:
        raise QueryError(f"This is longer than {TEXT_MAX} characters. Fewer words find more.")
    rest, looks = _split_looks(text)
    if not rest:
        return Query(looks=looks)
    return replace(_parse_rest(rest), looks=looks)


def _split_looks(text: str) -> tuple[str, str]:
    """Return the text without ``looks:"…"``, and the words of that."""
    found = list(_LOOKS.finditer(text))
    if len(found) > 1:
        raise QueryError('Write looks: once, with all words in quotes: looks:"red car".')
    if not found:
        return text, ""
    looks = " ".join((found[0]["phrase"] or found[0]["word"] or "").split())
    if not fold_text(looks).strip():
        raise QueryError('Write what the images should look like: looks:"red car".')
    return " ".join(_LOOKS.sub(" ", text).split()), looks


def _parse_rest(text: str) -> Query:
    lower = text.lower()
    if UUID_TEXT.fullmatch(lower):
        return Query(uuid=UUID(lower))
    if _HASH.fullmatch(lower):
        return Query(digest=lower)
    return Query(
        id_range=_parse_id_range(lower), number=_parse_number(lower), terms=_parse_terms(text)
    )


def _parse_id_range(text: str) -> tuple[UUID, UUID] | None:
    digits = text.replace("-", "")
    if not _SHORT_ID.fullmatch(text) or len(digits) > 31:
        return None
    return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))


def _parse_number(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) and int(text) <= SEED_MAX else None


def _parse_terms(text: str) -> tuple[Term, ...]:
    terms = tuple(dict.fromkeys(_iter_terms(text)))
    if not terms:
        raise QueryError("Enter at least one letter or digit.")
    if len(terms) > TERMS_MAX:
        raise QueryError(
            f"These are more than {TERMS_MAX} words. Put those that follow each other in quotes."
        )
    return terms


def _iter_terms(text: str) -> Iterator[Term]:
    for match in _TOKEN.finditer(text):
        token = match["phrase"] if match["phrase"] is not None else match["word"]
        sign, star = match["sign"] or "", match["star"] or ""
        if match["word"] is not None:
            sign, star = token[0] if token[0] == "-" else "", token[-1] if token[-1] == "*" else ""
        if words := tuple(fold_text(token).split()):
            yield Term(words=words, is_prefix=star == "*", is_excluded=sign == "-")
