"""Two hosts: two web servers and two workers with one database, one Redis and one storage.

A third Loupe is the provider, with a database of its own.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import cycle

import httpx
import pytest

from tests.deploy.servers import Loupe, Postgres, Redis, Worker, wait_until
from tests.deploy.test_load import BODY

pytestmark = pytest.mark.slow
PLAIN = "http://127.0.0.1"
REQUESTS = 200
KILL_AFTER = 70  # accepted requests
ENDED = "status IN ('succeeded', 'failed')"


@dataclass
class Hosts:
    postgres: Postgres
    provider: Loupe
    webs: list[Loupe]
    workers: list[Worker]

    def count(self, query: str) -> int:
        return int(self.postgres.ask(f"SELECT count(*) FROM {query}"))

    def upstream(self) -> int:
        """Return the number of tasks that the provider has accepted."""
        file = self.provider.folder / "db.sqlite3"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=20)) as database:
            return database.execute("SELECT count(*) FROM sandbox_sandboxtask").fetchone()[0]


def start_hosts(stack: ExitStack, **more: str) -> Hosts:
    provider = stack.enter_context(Loupe(PUBLIC_URL=PLAIN, SANDBOX="1", SANDBOX_LATENCY="0"))
    provider.stop()
    provider.variables["PUBLIC_URL"] = f"{PLAIN}:{provider.port}"  # of its images
    provider.start()
    postgres, store = stack.enter_context(Postgres(max_connections=120)), None
    store = stack.enter_context(Redis())
    variables = {
        "DATABASE_URL": postgres.url,
        "REDIS_URL": store.url,
        "PUBLIC_URL": PLAIN,
        "NOVITA_API_KEY": "sandbox",
        "NOVITA_BASE_URL": f"{PLAIN}:{provider.port}/sandbox/novita",
        "NOVITA_IMAGES_PER_MINUTE": "0",
        "FETCH_ALLOW": f"127.0.0.1:{provider.port}",
        "CLASSIFIERS": "novita,opennsfw",
        "WORKERS": "1",
        **more,
    }
    first = stack.enter_context(Loupe(**variables, HOST_NAME="first"))
    shared = {**variables, "DATA_DIR": str(first.folder)}
    second = stack.enter_context(Loupe(**shared, HOST_NAME="second"))
    workers = [stack.enter_context(Worker(loupe)) for loupe in (first, second)]
    hosts = Hosts(postgres, provider, [first, second], workers)
    beats = "generation_jobslot WHERE name = 'worker' AND running_until > now()"
    wait_until(lambda: hosts.count(beats) == 2, "both workers")
    return hosts


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as servers:
        yield servers


def submit(hosts: Hosts, key: str, number: int) -> int:
    """Submit a request as a careful client does: again, at the other host, with the same key."""
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": f"request-{number}"}
    webs = cycle(hosts.webs if number % 2 else reversed(hosts.webs))
    for _ in range(40):
        try:
            url = f"{PLAIN}:{next(webs).port}/v3/async/txt2img"
            answer = httpx.post(url, json=BODY, headers=headers, timeout=60)
        except httpx.TransportError:
            continue
        if answer.status_code < 500:
            return answer.status_code
    return 0


def kill(server: Loupe | Worker) -> None:
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()


def test_killed_web_server_and_worker_lose_and_double_nothing(stack: ExitStack) -> None:
    hosts = start_hosts(stack)
    key = hosts.webs[0].manage("create_api_key", "two hosts", "--scope=generate")

    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(submit, hosts, key, number) for number in range(REQUESTS)]
        requests = "generation_generationrequest"
        wait_until(lambda: hosts.count(requests) >= KILL_AFTER, "requests in work")
        kill(hosts.webs[0])
        kill(hosts.workers[1])
        hosts.webs[0].start()  # as a supervisor does
        hosts.workers[1].start()
        statuses = Counter(each.result() for each in calls)

    assert statuses == {200: REQUESTS}
    assert hosts.count(requests) == REQUESTS
    # A request whose worker died while it was sent may be unknown: a person sees it, and resolves
    # it. Nothing is sent a second time.
    wait_until(
        lambda: hosts.count(f"{requests} WHERE {ENDED} OR status = 'unknown'") == REQUESTS,
        "the end of all requests",
        seconds=600,
    )
    unknown = hosts.count(f"{requests} WHERE status = 'unknown'")
    assert unknown <= 1
    assert REQUESTS - unknown <= hosts.upstream() <= REQUESTS
    tasks = "(SELECT DISTINCT provider_task_id FROM generation_generationrequest"
    assert hosts.count(f"{tasks} WHERE provider_task_id != '') AS tasks") == REQUESTS - unknown

    stored = hosts.count("generation_remoteimage WHERE status = 'stored'")
    assert stored == REQUESTS - unknown
    assert hosts.count("generation_asset") == stored
    assert hosts.count("(SELECT DISTINCT sha256 FROM generation_asset) AS files") <= stored
    queued = "moderation_classification WHERE status = 'queued'"
    wait_until(lambda: hosts.count(queued) == 0, "the classifications", seconds=600)
    held = "generation_jobslot WHERE name != 'worker' AND running_until > now()"
    wait_until(lambda: hosts.count(held) == 0, "the end of all runs")
    hosts.webs[0].manage("verify_decisions")
    hosts.webs[0].manage("verify_assets")


def test_spending_limit_holds_over_two_hosts(stack: ExitStack) -> None:
    """Forty requests of one dollar, with seven dollars a day."""
    hosts = start_hosts(
        stack, SPENDING_LIMIT_PER_DAY="7", NOVITA_IMAGE_PRICE="1", CLASSIFIERS="opennsfw"
    )
    key = hosts.webs[0].manage("create_api_key", "spender", "--scope=generate")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: submit(hosts, key, number), range(40)))
    wait_until(lambda: hosts.upstream() >= 7, "the accepted requests")
    # The others wait with the reason, or were refused when they arrived.
    sending = "generation_generationrequest WHERE status = 'submitting' OR (status = 'queued'"
    wait_until(lambda: hosts.count(f"{sending} AND reason = '')") == 0, "the rest")

    assert hosts.upstream() == 7
