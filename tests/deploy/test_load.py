"""Limits under parallel load: many connections, and rate limits over several processes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from tests.deploy.servers import Loupe, Postgres

pytestmark = pytest.mark.slow
PLAIN = "http://127.0.0.1"
POOLED = 16  # WEB_PROCESSES × DATABASE_POOL_SIZE with the defaults
BODY = {
    "request": {
        "model_name": "sd_xl_base_1.0.safetensors",
        "prompt": "a harbour",
        "width": 512,
        "height": 512,
        "image_num": 1,
        "steps": 20,
        "guidance_scale": 7.5,
        "sampler_name": "Euler a",
    }
}


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres(max_connections=100) as server:
        yield server


@pytest.mark.parametrize("connections", [150, 1000])
def test_parallel_connections_exhaust_nothing(postgres: Postgres, connections: int) -> None:
    """Each request queries the database. All are sent at the same time."""
    with Loupe(DATABASE_URL=postgres.url, PUBLIC_URL=PLAIN, SANDBOX="1") as loupe:
        together = threading.Barrier(connections)

        def call(number: int) -> httpx.Response:
            url = f"{PLAIN}:{loupe.port}"
            with httpx.Client(base_url=url, timeout=300) as client:
                together.wait()
                if number % 2:
                    return client.get("/v1/assets", headers={"x-api-key": f"wrong{number}"})
                return client.get("/", headers={"Cookie": f"sessionid={number:032}"})

        threading.stack_size(256 * 1024)
        with ThreadPoolExecutor(connections) as pool:
            calls = [pool.submit(call, number) for number in range(connections)]
            probes = 0
            while not all(each.done() for each in calls):
                used = postgres.ask(
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'loupe'"
                )
                assert int(used) <= POOLED + 4  # PostgreSQL ends closed connections a little later
                assert httpx.get(f"{PLAIN}:{loupe.port}/healthz", timeout=60).status_code == 200
                probes += 1
        threading.stack_size(0)

        answers = [each.result() for each in calls]
        assert probes > 0
        assert set(Counter(each.status_code for each in answers)) <= {302, 401, 503}
        assert {each.headers.get("Retry-After") for each in answers if each.status_code == 503} <= {
            "5"
        }
        assert sum(each.status_code != 503 for each in answers) >= min(connections, 150) / 2
        assert " 500 " not in loupe.log.read_text()
        assert "Traceback" not in loupe.log.read_text()


@pytest.mark.parametrize("database", ["SQLite", "PostgreSQL"])
def test_limits_of_a_key_hold_over_two_processes(postgres: Postgres, database: str) -> None:
    with ExitStack() as stack:
        # A slow machine may answer 40 calls slowly; none is refused for that.
        variables = {"PUBLIC_URL": PLAIN, "SANDBOX": "1", "WEB_QUEUE_SECONDS": "600"}
        if database == "PostgreSQL":
            variables["DATABASE_URL"] = postgres.url
        loupe = stack.enter_context(Loupe(**variables))

        def send(key: str, count: int) -> Counter[int]:
            together = threading.Barrier(count)

            def call(_: int) -> int:
                with httpx.Client(base_url=f"{PLAIN}:{loupe.port}", timeout=300) as client:
                    together.wait()
                    headers = {"Authorization": f"Bearer {key}"}
                    answer = client.post("/v3/async/txt2img", json=BODY, headers=headers)
                    return answer.status_code

            with ThreadPoolExecutor(count) as pool:
                return Counter(pool.map(call, range(count)))

        def make_key(*limits: str) -> str:
            return loupe.manage("create_api_key", "limits", "--scope=generate", *limits)

        often = make_key("--calls-per-minute=5")
        assert send(often, 40) == {200: 5, 429: 35}
        images = make_key("--images-per-day=7")
        assert send(images, 40) == {200: 7, 429: 33}
