"""Note calls of outside services, for figures over time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal

from generation.core.db.prepared.query import insert
from generation.models import ServiceCall


@dataclass(slots=True)
class Stopwatch:
    """The duration of a call in milliseconds, once it has ended."""

    milliseconds: int = 0


@contextmanager
def measure() -> Iterator[Stopwatch]:
    """Return a stopwatch for the block of a ``with`` statement."""
    stopwatch, started = Stopwatch(), time.monotonic()
    try:
        yield stopwatch
    finally:
        stopwatch.milliseconds = round(1000 * (time.monotonic() - started))


def record_calls(
    service: str,
    kind: ServiceCall.Kind,
    outcome: ServiceCall.Outcome,
    *,
    count: int = 1,
    milliseconds: int | None = None,
    cost: Decimal = Decimal(0),
) -> None:
    """Note calls with the same outcome. ``milliseconds`` is the duration of one, ``cost`` USD."""
    if count:
        insert(
            ServiceCall(
                service=service,
                kind=kind,
                outcome=outcome,
                count=count,
                milliseconds=milliseconds,
                cost=cost,
            )
        )
