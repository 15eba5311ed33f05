"""Speed of the CPU core, measured by a fixed arithmetic loop beside the benchmark.

A host may assign the two threads of a core to different guests. While another guest uses one, the
same instructions take up to twice as long, and the process's CPU time includes that.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

STEPS = 4000  # 0.2 ms, in registers and the smallest cache


def measure_arithmetic() -> float:
    """Return the CPU seconds of the fixed loop at this time."""
    started = time.process_time()
    total = 0
    for number in range(STEPS):
        total += number * number
    return time.process_time() - started


def compute_slowdown(samples: Sequence[float]) -> float:
    """Return the mean duration divided by the shortest; 1 on an otherwise idle core."""
    return statistics.fmean(samples) / min(samples)
