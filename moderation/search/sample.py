"""Frequency of words, estimated from 1,000 evenly spread texts cached in this process.

A word index is fast for rare words and slow for words in millions of texts. The plan must know
which before it queries, for any word or prefix and for both databases.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from generation.models import AssetText

SIZE = 1000
CACHE_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample of prompt texts."""

    texts: tuple[str, ...]  # padded with spaces
    images: int  # estimated total number
    taken_at: float

    def how_many(self, needles: Iterable[str]) -> int:
        """Estimate the number of images whose texts contain all needles."""
        if not self.texts:
            return 0
        needles = list(needles)
        hits = sum(all(needle in text for needle in needles) for text in self.texts)
        return hits * self.images // len(self.texts)


_cached: Sample | None = None


def get_sample() -> Sample:
    global _cached
    if _cached is None or time.monotonic() - _cached.taken_at > CACHE_SECONDS:
        _cached = _draw()
    return _cached


def clear_sample() -> None:
    global _cached
    _cached = None


def _draw() -> Sample:
    first = AssetText.objects.order_by("pk").values_list("pk", flat=True).first()
    last = AssetText.objects.order_by("-pk").values_list("pk", flat=True).first()
    if first is None or last is None:
        return Sample((), 0, time.monotonic())
    images = last - first + 1
    places = {first + number * (images - 1) // max(1, SIZE - 1) for number in range(SIZE)}
    texts = AssetText.objects.filter(pk__in=places).values_list("text", flat=True)
    return Sample(tuple(f" {text} " for text in texts), images, time.monotonic())
