"""How much of a core the machine gives, told by a fixed piece of arithmetic that runs beside what
is measured.

A host lends the two threads of a core to different guests. While a stranger computes on the other
one, the same instructions take up to twice as long, and a process's CPU time counts that as its
own.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

STEPS = 4000  # a fifth of a millisecond, in registers and the smallest cache


def arithmetic() -> float:
    """Seconds of CPU time that it takes just now."""
    started = time.process_time()
    total = 0
    for number in range(STEPS):
        total += number * number
    return time.process_time() - started


def slowdown(samples: Sequence[float]) -> float:
    """How many times as long as at its fastest it took in the mean: 1 on a core that nobody else
    uses.
    """
    return statistics.fmean(samples) / min(samples)
