"""Polling of 10,000 tasks in flight by one process, compared with a bare loop of the same client.

A server in its own process answers at once with an unfinished task, so the figures are the cost of
Loupe's side. The job is the one that the worker runs: it claims due requests, polls them, and
stores the progress of each.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from django.test import override_settings
from django.utils import timezone
from httpx_aiohttp import HttpxAiohttpClient

from generation import jobs, providers
from generation.models import GenerationRequest
from generation.providers.http import CONCURRENCY, READ_TIMEOUT
from generation.providers.novita.client import RESULT_PATH, Novita

TASKS = int(os.environ.get("BENCH_TASKS", "10000"))
PROVIDER = "bench"


def main(out: str) -> None:
    with _run_server() as url, override_settings(IMAGE_PROVIDERS=_configure(url)):
        provider = providers.get_provider(PROVIDER)
        assert isinstance(provider, Novita)
        names = [f"bench-{number}" for number in range(TASKS)]
        asyncio.run(_poll_bare(url, names[:200]))  # imports and connections are not measured
        figures = {
            "bare": _measure(url, lambda: asyncio.run(_poll_bare(url, names))),
            "client": _measure(url, lambda: asyncio.run(_poll_by_client(provider, names))),
            "job": _measure_job(url, names),
        }
    Path(out).write_text(json.dumps({"tasks": TASKS, **figures}))


def _configure(url: str) -> dict[str, Any]:
    options = {"api_key": "benchmark-key", "base_url": url, "label": "Benchmark"}
    return {PROVIDER: {"BACKEND": "generation.providers.novita.client.Novita", "OPTIONS": options}}


def _measure(url: str, work: Callable[[], None]) -> dict[str, float]:
    """Return polls per second, and milliseconds of this process's CPU per poll."""
    before = _count_polls(url)
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    count = _count_polls(url) - before - 1
    return {
        "polls": count,
        "per_second": round(count / wall),
        "cpu_ms": round(1000 * cpu / count, 3),
    }


def _count_polls(url: str) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    connection.request("GET", "/count")
    return int(connection.getresponse().read())


async def _poll_bare(url: str, names: list[str]) -> None:
    """Poll with the same client and concurrency, without parsing the answers."""
    todo = iter(names)
    limits = httpx.Limits(max_connections=CONCURRENCY, keepalive_expiry=60)
    async with HttpxAiohttpClient(
        timeout=READ_TIMEOUT, limits=limits, trust_env=False, base_url=url
    ) as client:

        async def work() -> None:
            for name in todo:
                answer = await client.get(RESULT_PATH, params={"task_id": name})
                assert answer.status_code == 200

        await asyncio.gather(*(work() for _ in range(CONCURRENCY)))


async def _poll_by_client(provider: Novita, names: list[str]) -> None:
    count = 0
    async for _, answer in provider.poll(names):
        assert not isinstance(answer, Exception), answer
        count += 1
    assert count == len(names)


def _measure_job(url: str, names: list[str]) -> dict[str, float]:
    """Measure runs of the job over requests that are all due; the requests are deleted again."""
    now = timezone.now()
    GenerationRequest.objects.bulk_create(
        [
            GenerationRequest(
                provider=PROVIDER,
                provider_task_id=name,
                status=GenerationRequest.Status.PROCESSING,
                model_name="bench.safetensors",
                prompt="benchmark",
                width=512,
                height=512,
                image_num=1,
                steps=20,
                guidance_scale=7.5,
                sampler_name="Euler a",
                seed=number,
                submitted_at=now - timedelta(minutes=2),
                due_at=now,
            )
            for number, name in enumerate(names)
        ],
        batch_size=500,
    )
    rows = GenerationRequest.objects.filter(provider=PROVIDER)
    job = jobs.find("poll")
    try:

        def work() -> None:
            # At least one poll each. Those that are due again meanwhile are polled again.
            while rows.filter(eta_seconds__isnull=True).exists():
                job()

        return _measure(url, work)
    finally:
        rows.delete()


@contextmanager
def _run_server() -> Iterator[str]:
    """Run the answering server in a process of its own; yield its URL."""
    command = [sys.executable, "-m", "bench.task_server", RESULT_PATH]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        if not port:
            raise RuntimeError("The server of the polling benchmark did not start.")
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
