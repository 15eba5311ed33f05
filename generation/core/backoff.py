"""Delays before a retry. docs/architecture.md lists every policy with its numbers."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta

# Far above every cap; keeps the power a small number, however often something has failed.
_EXPONENT_MAX = 32


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential delays: ``base`` seconds before retry 0, ``factor`` times as long before each
    later one, at most ``cap`` seconds, then lengthened by a random share of up to ``jitter``.
    """

    base: float
    cap: float
    factor: float = 2.0
    jitter: float = 0.0

    def delay(self, retry: int) -> timedelta:
        """Return the delay before retry number ``retry``, counted from 0."""
        exponent = min(max(retry, 0), _EXPONENT_MAX)
        seconds = min(self.base * self.factor**exponent, self.cap)
        return add_jitter(timedelta(seconds=seconds), self.jitter)


def add_jitter(delay: timedelta, share: float) -> timedelta:
    """Lengthen the delay by a random share of up to ``share``, so that rows which failed together
    do not return together.
    """
    return delay * random.uniform(1, 1 + share)


def delay_by_age(
    age: timedelta, *, share: float = 1.0, shortest: timedelta, longest: timedelta
) -> timedelta:
    """Return this share of the age within the limits: the longer something takes, the more seldom
    it is asked for.
    """
    return min(max(age * share, shortest), longest)
