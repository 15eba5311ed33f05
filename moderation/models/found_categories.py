"""Which groups of categories classifiers found in an image: one bit for each L1, in one column of
its review.

A queue can then be narrowed to a group and dealt in its own order by one index on one table,
whichever classifier named the category, and however little of the image's risk it makes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import models
from django.db.models import F, Func

# Stored: a number is never given to another group.
BITS: dict[str, int] = {
    "explicit": 1,
    "non-explicit": 2,
    "swimwear-underwear": 4,
    "violence": 8,
    "visually-disturbing": 16,
    "drugs-tobacco": 32,
    "alcohol": 64,
    "rude-gestures": 128,
    "gambling": 256,
    "hate-symbols": 512,
}


def bits_of(slugs: Iterable[str]) -> int:
    """Return the bits of these categories, L1 or L2, together."""
    bits = 0
    for slug in slugs:
        bits |= BITS.get(slug.partition(".")[0], 0)
    return bits


class HasFound(Func):
    """Whether a bit is set. The number stands in the SQL itself: a partial index is used for no
    parameter.
    """

    template = "(%(expressions)s & %(bit)s) <> 0"
    arity = 1
    output_field = models.BooleanField()

    def __init__(self, bit: int, column: Any = "found") -> None:
        super().__init__(F(column) if isinstance(column, str) else column, bit=bit)


class HasFoundNothing(Func):
    """Whether no bit is set."""

    template = "%(expressions)s = 0"
    arity = 1
    output_field = models.BooleanField()

    def __init__(self, column: Any = "found") -> None:
        super().__init__(F(column) if isinstance(column, str) else column)
