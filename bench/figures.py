"""Statistics of samples, and capture of queries."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any


def percentile(samples: Sequence[float], percent: int) -> float:
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, round(percent / 100 * (len(ordered) - 1)))]


def spread(samples: Sequence[float], *, factor: float = 1000.0) -> dict[str, float]:
    """Return statistics in milliseconds, or in another unit by ``factor``."""
    return {
        "best": round(factor * min(samples), 3),  # least affected by noise
        "p10": round(factor * percentile(samples, 10), 3),
        "mean": round(factor * statistics.fmean(samples), 3),
        "p50": round(factor * percentile(samples, 50), 3),
        "p95": round(factor * percentile(samples, 95), 3),
        "samples": len(samples),
    }


@contextmanager
def record_queries() -> Iterator[list[str]]:
    """Collect all statements sent to the database inside the block."""
    from django.db import connection

    seen: list[str] = []

    def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield seen
