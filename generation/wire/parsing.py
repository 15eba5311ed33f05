"""Parsers for numbers and cursors in URLs. They return None for a wrong value and never raise."""

from __future__ import annotations

BIGINT_MAX = 2**63 - 1  # the highest id on SQLite and PostgreSQL


def parse_integer(text: str, *, low: int = 0, high: int = BIGINT_MAX) -> int | None:
    """Read ASCII digits as a number from low to high.

    The length is checked first: Python raises ValueError for more than 4,300 digits.
    """
    if not (text.isascii() and text.isdecimal()) or len(text) > 19:
        return None
    number = int(text)
    return number if low <= number <= high else None


def parse_keyset(text: str, *, parts: int) -> tuple[int, ...] | None:
    """Read the keyset cursor of a page: ``parts`` numbers with points between them."""
    numbers = [parse_integer(part) for part in text[: 20 * parts].split(".")]
    found = tuple(number for number in numbers if number is not None)
    return found if len(found) == len(numbers) == parts else None
