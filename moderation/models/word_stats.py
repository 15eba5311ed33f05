"""Which words of prompts go with rejections. Made in the background from the record, which stays
the truth.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from django.db import models

WORD_MAX = 40
_WORD = re.compile(r"[^\W\d_][\w'-]{2,39}")


def words_of(prompt: str) -> set[str]:
    """The words of a prompt, in lower case, without numbers and what is shorter than three
    letters.
    """
    return {word for word, _ in places_of(prompt)}


def places_of(prompt: str) -> Iterator[tuple[str, slice]]:
    """The same words, each as often as it stands there, and where."""
    for match in _WORD.finditer(prompt):
        yield match.group().lower()[:WORD_MAX], slice(*match.span())


class WordStats(models.Model):
    """In how many decided images a word was in the prompt, and how many of those were rejected."""

    word = models.CharField(max_length=WORD_MAX, primary_key=True)
    decided = models.IntegerField(default=0)
    rejected = models.IntegerField(default=0)

    class Meta:
        verbose_name = verbose_name_plural = "word stats"

    def __str__(self) -> str:
        return f"{self.word}: {self.rejected} of {self.decided}"


class WordStatsProgress(models.Model):
    """Up to which decision the record has been counted: one row."""

    sequence = models.BigIntegerField(default=0)
    decided = models.BigIntegerField(default=0)
    rejected = models.BigIntegerField(default=0)

    class Meta:
        verbose_name, verbose_name_plural = "word stats progress", "progress of word stats"

    def __str__(self) -> str:
        return f"up to decision {self.sequence}"
