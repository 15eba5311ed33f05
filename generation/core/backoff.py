"""Delays before a retry. docs/architecture.md lists every policy with its numbers."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta

# Far above every cap; keeps the power a small number, however often something has failed.
_EXPONENT_MAX = 32


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential delays in seconds.

    ``base`` before retry 0, ``factor`` times as long before each later retry, at most ``cap``, then
    lengthened by a random share of up to ``jitter``.
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
    """Lengthen a delay by a random share of up to ``share``.

    Rows that failed together then do not return together.
    """
    return delay * random.uniform(1, 1 + share)


def delay_by_age(
    age: timedelta, *, share: float = 1.0, shortest: timedelta, longest: timedelta
) -> timedelta:
    """Return a share of an age, between ``shortest`` and ``longest``.

    The longer a request takes, the less often it is polled.
    """
    return min(max(age * share, shortest), longest)
