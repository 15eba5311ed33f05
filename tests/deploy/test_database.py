"""The documented web server during database and Redis outages.

PostgreSQL is out of connections, behind a pooler, or stopped; Redis is stopped.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import psycopg
import pytest
import redis

from tests.deploy.servers import Loupe, PgBouncer, Postgres, Redis, Worker, wait_until

pytestmark = pytest.mark.slow
PLAIN = "http://127.0.0.1"
PASSWORD = "correct horse battery staple"
CONNECTIONS = 16  # workers × blocking threads, as documented
SESSION = {"Cookie": f"sessionid={'s' * 32}"}  # makes the server query the database


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres(max_connections=30) as server:
        yield server


@pytest.fixture(scope="module")
def loupe(postgres: Postgres) -> Iterator[Loupe]:
    with Loupe(DATABASE_URL=postgres.url, PUBLIC_URL=PLAIN) as server:
        yield server


def ask(loupe: Loupe, method: str, path: str, **more: object) -> httpx.Response:
    return httpx.request(method, f"{PLAIN}:{loupe.port}{path}", timeout=120, **more)


def test_200_anonymous_requests_leave_database_connections_free(
    loupe: Loupe, postgres: Postgres
) -> None:
    token = re.search(r'value="(\w+)"', ask(loupe, "GET", "/login/").text)
    assert token is not None
    form = {"username": "nobody", "password": "wrong", "csrfmiddlewaretoken": token[1]}

    def call(number: int) -> int:
        if number % 4 == 0:
            cookie = {"Cookie": f"csrftoken={token[1]}"}
            return ask(
                loupe, "POST", "/login/", data={**form, "username": f"n{number}"}, headers=cookie
            ).status_code
        if number % 4 == 1:
            return ask(loupe, "GET", "/readyz").status_code
        return ask(loupe, "GET", "/v1/assets", headers={"x-api-key": "wrong"}).status_code

    with ThreadPoolExecutor(200) as pool:
        calls = [pool.submit(call, number) for number in range(200)]
        while not all(each.done() for each in calls):
            connections = int(
                postgres.ask(
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'loupe'"
                )
            )
            assert (
                connections <= CONNECTIONS + 6
            )  # 6 for ended threads, whose connections the server is about to close

    # 429: too many failed log-ins from one address
    assert set(Counter(each.result() for each in calls)) <= {200, 401, 403, 429}


def occupy(postgres: Postgres, stack: ExitStack) -> None:
    """Open every remaining database connection."""
    while True:
        try:
            stack.enter_context(psycopg.connect(postgres.url))
        except psycopg.OperationalError:  # too many clients
            return


def test_database_without_free_connections_returns_503(postgres: Postgres) -> None:
    with Loupe(DATABASE_URL=postgres.url, PUBLIC_URL=PLAIN) as loupe, ExitStack() as stack:
        occupy(postgres, stack)

        page = ask(loupe, "GET", "/", headers=SESSION)
        assert (page.status_code, page.headers["Retry-After"]) == (503, "5")
        assert "Not available right now" in page.text
        call = ask(loupe, "GET", "/v1/assets", headers={"x-api-key": "wrong"})
        assert (call.status_code, call.json()["error"]) == (503, "Service Unavailable")
        assert ask(loupe, "GET", "/readyz").json()["database"] == "unreachable"
        assert ask(loupe, "GET", "/healthz").status_code == 200


def test_parallel_exports_succeed_behind_a_pooler(postgres: Postgres) -> None:
    with PgBouncer(postgres, pool_size=3) as pooler:
        variables = {"DJANGO_SUPERUSER_PASSWORD": PASSWORD, "DATABASE_POOLER": "1"}
        with Loupe(DATABASE_URL=pooler.url, PUBLIC_URL=PLAIN, **variables) as loupe:
            loupe.manage(
                "createsuperuser", "--noinput", "--username=ada", "--email=ada@loupe.example"
            )
            # The failed log-ins of another test on this database came from the same address.
            loupe.manage("axes_reset")
            with httpx.Client(base_url=f"{PLAIN}:{loupe.port}", timeout=120) as client:
                token = re.search(r'value="(\w+)"', client.get("/login/").text)
                assert token is not None
                form = {"username": "ada", "password": PASSWORD, "csrfmiddlewaretoken": token[1]}
                assert client.post("/login/", data=form).status_code == 302
                with ThreadPoolExecutor(12) as pool:
                    exports = list(
                        pool.map(lambda _: client.get("/exports/decisions.csv"), range(60))
                    )

            assert {export.status_code for export in exports} == {200}
            assert len({export.text for export in exports}) == 1
            assert "Traceback" not in loupe.log.read_text()


def test_web_server_and_worker_survive_a_database_and_redis_outage() -> None:
    with (
        Postgres() as postgres,
        Redis() as store,
        Loupe(DATABASE_URL=postgres.url, REDIS_URL=store.url, PUBLIC_URL=PLAIN) as loupe,
        Worker(loupe) as worker,
    ):
        beat = (
            "SELECT coalesce(max(running_until)::text, '') FROM generation_jobslot WHERE name ="
            " 'worker'"
        )
        wait_until(lambda: postgres.ask(beat), "the worker's first beat")
        wait_until(lambda: listens(store), "the worker listens")
        assert ask(loupe, "GET", "/readyz").status_code == 200
        before = postgres.ask(beat)

        postgres.stop()
        for _ in range(20):
            page = ask(loupe, "GET", "/", headers=SESSION)
            assert (page.status_code, page.headers["Retry-After"]) == (503, "5")
        readiness = ask(loupe, "GET", "/readyz")
        assert (readiness.status_code, readiness.json()["database"]) == (503, "unreachable")
        assert ask(loupe, "GET", "/healthz").status_code == 200
        time.sleep(5)  # long enough for several failed retries
        postgres.start()
        wait_until(lambda: ask(loupe, "GET", "/").status_code == 302, "pages again")
        wait_until(lambda: postgres.ask(beat) > before, "the worker's beat again")

        store.stop()
        readiness = ask(loupe, "GET", "/readyz")
        assert (readiness.status_code, readiness.json()["queue"]) == (503, "unreachable")
        time.sleep(15)
        store.start()
        wait_until(lambda: listens(store), "the worker listens again")
        wait_until(lambda: ask(loupe, "GET", "/readyz").status_code == 200, "ready again")

        assert worker.process is not None
        assert worker.process.poll() is None
        for server, most in (
            (worker, 4),
            (loupe, 8),
        ):  # two outages and refused answers; two web processes
            lines = [
                line
                for line in server.log.read_text().splitlines()
                if " ERROR " in line or " CRITICAL " in line
            ]
            assert len(lines) <= most, lines
            assert "Traceback" not in server.log.read_text()
        assert "Connection refused" in worker.log.read_text()


def listens(store: Redis) -> bool:
    """Return True if a worker waits for messages."""
    with redis.from_url(store.url) as client:
        return any(each["cmd"] == "blpop" for each in client.client_list())
