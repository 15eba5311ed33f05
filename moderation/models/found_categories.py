"""The L1 categories that classifiers found in an image, as bits in one column of its review.

Queues filter by an L1 category and keep their order with one index on one table, whichever
classifier found the category and however little it adds to the risk.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import models
from django.db.models import F, Func

# Stored in the database: never reuse a number.
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


def combine_bits(slugs: Iterable[str]) -> int:
    """Return the combined bits of categories, L1 or L2."""
    bits = 0
    for slug in slugs:
        bits |= BITS.get(slug.partition(".")[0], 0)
    return bits


class HasFound(Func):
    """Expression for "this bit is set".

    The bit is inlined in the SQL: a partial index is not used for a parameter.
    """

    template = "(%(expressions)s & %(bit)s) <> 0"
    arity = 1
    output_field = models.BooleanField()

    def __init__(self, bit: int, column: Any = "found") -> None:
        super().__init__(F(column) if isinstance(column, str) else column, bit=bit)


class HasFoundNothing(Func):
    """Expression for "no bit is set"."""

    template = "%(expressions)s = 0"
    arity = 1
    output_field = models.BooleanField()

    def __init__(self, column: Any = "found") -> None:
        super().__init__(F(column) if isinstance(column, str) else column)
