"""Counts of rejections per prompt word, made in the background from the record."""

from __future__ import annotations

import re
from collections.abc import Iterator

from django.db import models

WORD_MAX = 40
_WORD = re.compile(r"[^\W\d_][\w'-]{2,39}")


def extract_words(prompt: str) -> set[str]:
    """Return the words of a prompt in lower case.

    Numbers and words shorter than three letters are left out.
    """
    return {word for word, _ in locate_words(prompt)}


def locate_words(prompt: str) -> Iterator[tuple[str, slice]]:
    """Yield each occurrence of a word in a prompt with its position."""
    for match in _WORD.finditer(prompt):
        yield match.group().lower()[:WORD_MAX], slice(*match.span())


class WordStats(models.Model):
    """The number of decided and of rejected images whose prompt has this word."""

    word = models.CharField(max_length=WORD_MAX, primary_key=True)
    decided = models.IntegerField(default=0)
    rejected = models.IntegerField(default=0)

    class Meta:
        verbose_name = verbose_name_plural = "word stats"

    def __str__(self) -> str:
        return f"{self.word}: {self.rejected} of {self.decided}"


class WordStatsProgress(models.Model):
    """The last decision counted into word stats: a single row."""

    sequence = models.BigIntegerField(default=0)
    decided = models.BigIntegerField(default=0)
    rejected = models.BigIntegerField(default=0)

    class Meta:
        verbose_name, verbose_name_plural = "word stats progress", "progress of word stats"

    def __str__(self) -> str:
        return f"up to decision {self.sequence}"
