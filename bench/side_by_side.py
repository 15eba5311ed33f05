"""Throughput of work that runs in several processes at the same time."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.db import connections

PROCESSES = 2
_LIMIT = 600.0  # seconds


def measure_rate(
    prepare: Callable[[int], Callable[[], Any]], *, count: int, processes: int = PROCESSES
) -> dict[str, float]:
    """Run ``count`` items of work in each process; return items per second and CPU per item.

    ``prepare`` gets the number of its process, loads all that should not be measured, and returns
    the work of one item. The processes are forked, like those of the worker.
    """
    connections.close_all()
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(processes + 1)
    results: Any = context.Queue()

    def run(number: int) -> None:
        work = prepare(number)
        work()
        barrier.wait(_LIMIT)
        cpu = time.process_time()
        for _ in range(count):
            work()
        results.put(time.process_time() - cpu)

    workers = [context.Process(target=run, args=(number,)) for number in range(processes)]
    for worker in workers:
        worker.start()
    barrier.wait(_LIMIT)
    started = time.perf_counter()
    cpu = sum(results.get(timeout=_LIMIT) for _ in workers)
    seconds = time.perf_counter() - started
    for worker in workers:
        worker.join()
    done = processes * count
    return {"per_second": round(done / seconds, 1), "cpu_ms": round(1000 * cpu / done, 2)}


def cycle(items: Sequence[Any], start: int = 0) -> Iterator[Any]:
    """Yield the items again and again."""
    while True:
        yield items[start % len(items)]
        start += 1
