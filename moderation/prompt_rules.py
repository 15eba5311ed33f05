"""Rules of words on prompts: parse them, and find the prompts that they match.

A rule has words and phrases, AND, OR, NOT and parentheses. Words next to each other are a phrase;
each line is an alternative. Words match whole, ``word*`` matches beginnings. Case, accents and
invisible characters do not count. A rule is not a regular expression: matching a prompt takes time
in proportion to its length times the number of terms.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from generation.core.text import fold_text

TEXT_MAX: Final = 2_000  # characters of a rule, and of the list of allowed phrases
TERMS_MAX: Final = 50
ALLOWED_MAX: Final = 100
DEPTH_MAX: Final = 20  # parentheses and NOTs inside each other
# A quoted phrase with a star or not, a parenthesis, the end of a line, or characters up to one.
_TOKEN = re.compile(
    r'"(?P<phrase>[^"\n]*)"(?P<star>\*?)|(?P<mark>[()\n])|(?P<word>[^\s()"]+)|(?P<open>")'
)
_QUOTES = str.maketrans("“”„«»", '"' * 5)
_OPERATORS = ("AND", "OR", "NOT")
# Replacement of an allowed phrase. It is no word, so its neighbours do not become a phrase.
_GAP = " | "


class PromptRuleError(ValueError):
    """A rule that cannot be read. ``str(error)`` says what to write instead."""


@dataclass(frozen=True, slots=True)
class Term:
    """A word or phrase, folded."""

    words: tuple[str, ...]
    is_prefix: bool = False  # the last word is the beginning of a word

    @property
    def needle(self) -> str:
        text = _join(self.words)
        return text.removesuffix(" ") if self.is_prefix else text

    def __str__(self) -> str:
        return " ".join(self.words) + ("*" if self.is_prefix else "")


@dataclass(frozen=True, slots=True)
class Not:
    part: Node


@dataclass(frozen=True, slots=True)
class AllOf:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple[Node, ...]


Node = Term | Not | AllOf | AnyOf


@dataclass(frozen=True, slots=True)
class Match:
    """Result of matching a rule against one prompt."""

    is_blocked: bool
    # Terms of the rule in the prompt, outside of allowed phrases and not below a NOT.
    terms: tuple[Term, ...] = ()
    needed: tuple[Term, ...] = ()  # those without which the prompt would pass


@dataclass(frozen=True, slots=True)
class PromptRule:
    """A parsed rule with its allowed phrases."""

    root: Node
    terms: tuple[Term, ...]  # that block, in the order of the rule
    allowed: tuple[Term, ...] = ()

    def match(self, prompt: str) -> Match:
        """Find out whether a prompt is blocked, and because of which terms."""
        text = fold_prompt(prompt)
        for phrase in self.allowed:
            text = text.replace(phrase.needle, _GAP)
        found = {term for term in _iter_terms(self.root) if term.needle in text}
        if not _holds(self.root, found):
            return Match(is_blocked=False)
        terms = tuple(term for term in self.terms if term in found)
        needed = tuple(term for term in terms if not _holds(self.root, found - {term}))
        return Match(is_blocked=True, terms=terms, needed=needed)


def fold_prompt(prompt: str) -> str:
    """Return the folded words of a prompt, each between two spaces of its own."""
    return _join(fold_text(_drop_invisible(prompt)).split())


def _join(words: Sequence[str]) -> str:
    return "".join(f" {word} " for word in words)


def _drop_invisible(text: str) -> str:
    """Drop format characters, such as direction marks and joiners inside of a word."""
    if text.isascii():
        return text
    return "".join(letter for letter in text if unicodedata.category(letter) != "Cf")


def _iter_terms(node: Node) -> Iterator[Term]:
    if isinstance(node, Term):
        yield node
    elif isinstance(node, Not):
        yield from _iter_terms(node.part)
    else:
        for part in node.parts:
            yield from _iter_terms(part)


def _iter_blocking(node: Node, *, is_negated: bool = False) -> Iterator[Term]:
    if isinstance(node, Term):
        if not is_negated:
            yield node
    elif isinstance(node, Not):
        yield from _iter_blocking(node.part, is_negated=not is_negated)
    else:
        for part in node.parts:
            yield from _iter_blocking(part, is_negated=is_negated)


def _holds(node: Node, found: Collection[Term]) -> bool:
    if isinstance(node, Term):
        return node in found
    if isinstance(node, Not):
        return not _holds(node.part, found)
    if isinstance(node, AllOf):
        return all(_holds(part, found) for part in node.parts)
    return any(_holds(part, found) for part in node.parts)


# --- Parsing ---
def parse_rule(text: str, allowed: str = "") -> PromptRule:
    """Parse a rule and its allowed phrases, one a line. Raises PromptRuleError."""
    for each, name in ((text, "The rule"), (allowed, "The list of allowed phrases")):
        if len(each) > TEXT_MAX:
            raise PromptRuleError(f"{name} is longer than {TEXT_MAX:,} characters. Shorten it.")
    root = _Parser(_tokenize(text)).parse()
    terms = list(_iter_terms(root))
    if len(terms) > TERMS_MAX:
        raise PromptRuleError(
            f"The rule has {len(terms)} words and phrases. Write up to {TERMS_MAX}."
        )
    if _holds(root, ()):
        raise PromptRuleError(
            "This rule would block prompts without any of its words, because of a NOT. Join the NOT"
            " to a word with AND."
        )
    return PromptRule(root, tuple(dict.fromkeys(_iter_blocking(root))), _parse_allowed(allowed))


def _parse_allowed(text: str) -> tuple[Term, ...]:
    """Return the allowed phrases, the longest first: a short one may be part of a long one."""
    phrases = {
        _parse_term(line)
        for line in text.translate(_QUOTES).replace('"', " ").splitlines()
        if line.strip()
    }
    if len(phrases) > ALLOWED_MAX:
        raise PromptRuleError(
            f"There are {len(phrases)} allowed phrases. Write up to {ALLOWED_MAX}."
        )
    return tuple(sorted(phrases, key=lambda term: (-len(term.words), term.words)))


def _parse_term(text: str) -> Term:
    text = text.strip()
    words = tuple(fold_text(_drop_invisible(text)).split())
    if not words:
        raise PromptRuleError(f"“{text[:40]}” has no letter or digit. Write a word.")
    return Term(words, is_prefix=text.endswith("*"))


@dataclass(frozen=True, slots=True)
class _Token:
    """An operator, a parenthesis, the end of a line ("OR"), or a term."""

    kind: str
    term: Term | None = None


def _tokenize(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    words: list[str] = []

    def end_phrase() -> None:
        if words:
            tokens.append(_Token("term", _parse_term(" ".join(words))))
            words.clear()

    lines = "\n".join(line for line in text.translate(_QUOTES).splitlines() if line.strip())
    for match in _TOKEN.finditer(lines):
        if match["open"]:
            raise PromptRuleError("A quotation mark is open. Close it on the same line.")
        if match["word"] and match["word"] not in _OPERATORS:
            words.append(match["word"])
            if match["word"].endswith("*"):
                end_phrase()
            continue
        end_phrase()
        if match["phrase"] is not None:
            term = _parse_term(match["phrase"] + match["star"])
            tokens.append(_Token("term", term))
        else:
            mark = match["word"] or match["mark"]
            tokens.append(_Token("line" if mark == "\n" else mark))
    end_phrase()
    return tokens


class _Parser:
    """A parser by recursive descent; NOT binds closer than AND, AND closer than OR."""

    def __init__(self, tokens: Sequence[_Token]) -> None:
        self._tokens, self._place, self._depth = tokens, 0, 0

    def parse(self) -> Node:
        if not self._tokens:
            raise PromptRuleError("Write at least one word that blocks.")
        lines = [self._parse_any()]
        while self._take("line"):
            lines.append(self._parse_any())
        if self._next == ")":
            raise PromptRuleError("A parenthesis closes that was not opened.")
        if self._next:
            raise PromptRuleError("Write AND or OR between a phrase in quotes and its neighbour.")
        return lines[0] if len(lines) == 1 else AnyOf(tuple(lines))

    @property
    def _next(self) -> str:
        return self._tokens[self._place].kind if self._place < len(self._tokens) else ""

    def _take(self, kind: str) -> bool:
        if self._next != kind:
            return False
        self._place += 1
        return True

    def _parse_any(self) -> Node:
        parts = [self._parse_all()]
        while self._take("OR"):
            parts.append(self._parse_all())
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def _parse_all(self) -> Node:
        parts = [self._parse_one()]
        while self._take("AND"):
            parts.append(self._parse_one())
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def _parse_one(self) -> Node:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise PromptRuleError(f"Parentheses and NOT are nested deeper than {DEPTH_MAX}.")
        node = self._parse_nested()
        self._depth -= 1
        return node

    def _parse_nested(self) -> Node:
        if self._take("NOT"):
            return Not(self._parse_one())
        if self._take("("):
            node = self._parse_any()
            if not self._take(")"):
                raise PromptRuleError("A parenthesis is open. Close it on the same line.")
            return node
        if self._next == "term":
            term = self._tokens[self._place].term
            assert term is not None
            self._place += 1
            return term
        after = {"": "at the end", "line": "at the end of a line", ")": "before a parenthesis"}
        where = after.get(self._next, f"before {self._next}")
        raise PromptRuleError(f"A word or phrase is missing {where}.")
