"""Metrics of two web servers with two processes each, and a worker, on one database."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.servers import HOST, Loupe, Worker, wait_until

pytestmark = pytest.mark.slow
TOKEN = "metrics-token-of-the-tests-" + "0123456789abcdef" * 2
REQUESTS = 'loupe_http_requests_total{method="GET",route="account_login",status="200"}'


class SecondLoupe(Loupe):
    """A web server on the database and the static files of another one."""

    def manage(self, *arguments: str) -> None:
        """Leave everything as the other server has made it."""


@pytest.fixture(scope="module")
def first() -> Iterator[Loupe]:
    with Loupe(METRICS_TOKEN=TOKEN) as server:
        yield server


@pytest.fixture(scope="module")
def second(first: Loupe) -> Iterator[Loupe]:
    with SecondLoupe(METRICS_TOKEN=TOKEN, DATA_DIR=str(first.folder)) as server:
        yield server


@pytest.fixture(scope="module")
def worker(first: Loupe) -> Iterator[Worker]:
    with Worker(first) as process:
        yield process


def scrape(server: Loupe) -> dict[str, float]:
    answer = httpx.get(
        f"http://127.0.0.1:{server.port}/metrics",
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=60,
    )
    assert answer.status_code == 200
    found = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def call(server: Loupe, times: int) -> None:
    """Call a page, each time on a new connection, so that both processes answer some."""
    headers = {"Host": HOST, "X-Forwarded-Proto": "https"}
    for _ in range(times):
        answer = httpx.get(f"http://127.0.0.1:{server.port}/login/", headers=headers, timeout=60)
        assert answer.status_code == 200


def find_web_processes(server: Loupe) -> list[int]:
    assert server.process is not None
    parent = server.process.pid
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            command = (path.parent / "cmdline").read_bytes()
            if b"resource_tracker" not in command:
                found.append(int(path.parent.name))
    return sorted(found)


def test_each_web_server_counts_the_requests_of_all_its_processes(
    first: Loupe, second: Loupe
) -> None:
    before = scrape(first).get(REQUESTS, 0), scrape(second).get(REQUESTS, 0)
    call(first, 30)
    call(second, 7)

    for _ in range(6):  # whichever process answers
        assert scrape(first)[REQUESTS] == before[0] + 30
        assert scrape(second)[REQUESTS] == before[1] + 7


def test_counts_survive_a_killed_web_process(first: Loupe) -> None:
    call(first, 5)
    before = scrape(first)[REQUESTS]
    victim = find_web_processes(first)[0]

    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in find_web_processes(first), "the process is gone")
    wait_until(lambda: len(find_web_processes(first)) >= 2, "granian has replaced it")

    assert scrape(first)[REQUESTS] == before
    call(first, 4)
    assert scrape(first)[REQUESTS] == before + 4


def test_database_counters_are_equal_everywhere_and_rise(
    first: Loupe, second: Loupe, worker: Worker
) -> None:
    def find_runs(server: Loupe) -> dict[str, float]:
        samples = scrape(server).items()
        return {name: value for name, value in samples if name.startswith("loupe_job_runs_total")}

    wait_until(
        lambda: any('job="count"' in name for name in find_runs(first)),
        "runs of jobs are counted",
        seconds=300,
    )
    seen = [sum(find_runs(server).values()) for server in (first, second, first, second)]

    assert scrape(second)["loupe_database_up"] == 1
    assert seen == sorted(seen)
    alive = [value for name, value in scrape(second).items() if "workers_alive" in name]
    assert alive == [1]


def test_folder_of_an_ended_server_is_deleted_by_the_next(first: Loupe, second: Loupe) -> None:
    assert second.process is not None
    pattern = f"loupe-metrics-{os.getuid()}-*/{second.process.pid}-*"
    assert len(list(Path("/dev/shm").glob(pattern))) == 1

    second.stop()
    with SecondLoupe(METRICS_TOKEN=TOKEN, DATA_DIR=str(first.folder)) as third:
        wait_until(lambda: not list(Path("/dev/shm").glob(pattern)), "the old folder is deleted")
        call(third, 1)
        assert scrape(third)[REQUESTS] == 1
        assert scrape(first)["loupe_database_up"] == 1, "the folder of the other one is kept"
