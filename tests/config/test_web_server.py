"""The web server's processes: real ones, really killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.config.workers import Program, children, processes, until
from tests.ports import free_port

pytestmark = pytest.mark.slow


class Web(Program):
    """A running ``manage.py web`` with two processes."""

    def __init__(self, data_dir: Path, *arguments: str, port: int = 0, **more: str) -> None:
        self.port = port or free_port()
        super().__init__(data_dir, "web", *arguments, PORT=str(self.port), DEBUG="1", **more)
        until(lambda: self.process.poll() is not None or self.answers("/healthz"))

    def answers(self, path: str) -> httpx.Response | None:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=60)
        except httpx.TransportError:
            return None


@pytest.fixture
def web(data_dir: Path) -> Iterator[Web]:
    with Web(data_dir) as server:
        yield server


def test_no_process_survives_a_killed_web_server(web: Web, data_dir: Path) -> None:
    old = children(web.process.pid)
    assert len(old) == 2

    os.kill(web.process.pid, signal.SIGKILL)
    with Web(data_dir, port=web.port) as second:
        assert not set(old) & set(processes())
        assert second.answers("/healthz").status_code == 200
        assert len(children(second.process.pid)) == 2


def test_killed_child_is_replaced(web: Web) -> None:
    first = children(web.process.pid)

    os.kill(first[0], signal.SIGKILL)

    until(lambda: len(now := children(web.process.pid)) == 2 and first[0] not in now)
    assert web.answers("/healthz").status_code == 200


def test_second_server_on_the_same_port_is_refused(web: Web, data_dir: Path) -> None:
    with Program(data_dir, "web", PORT=str(web.port), DEBUG="1") as second:
        assert second.code() == 1
    assert f"Port {web.port} of 127.0.0.1 cannot be used" in second.log.read_text()
    assert web.answers("/healthz").status_code == 200


def test_stopping_server_is_unready_and_still_serves(data_dir: Path) -> None:
    with Web(data_dir, "--drain=600") as web:
        assert web.answers("/readyz").status_code == 200
        web.process.terminate()

        until(lambda: web.answers("/readyz").status_code == 503)
        answer = web.answers("/readyz")
        assert (answer.json()["server"], answer.json()["database"]) == ("draining", "ok")
        assert web.answers("/login/").status_code == 200

        web.process.terminate()  # a second signal ends the drain time
        assert web.code() == 0
        assert not web.session()


def test_requests_in_work_are_answered_before_the_end(data_dir: Path) -> None:
    """The bodies of eight requests end after the server was told to stop."""
    with Web(data_dir, "--drain=0") as web, ThreadPoolExecutor(8) as pool:
        rest = threading.Event()

        def call(_: int) -> int:
            url = f"http://127.0.0.1:{web.port}/login/"
            return httpx.post(url, content=slow_body(rest), timeout=60).status_code

        calls = [pool.submit(call, number) for number in range(8)]
        time.sleep(2)  # ample for the server to read the first half of eight bodies
        web.process.terminate()
        rest.set()

        assert [each.result() for each in calls] == [403] * 8  # no CSRF cookie
        assert web.code() == 0


def slow_body(rest: threading.Event) -> Iterator[bytes]:
    yield b"a=" + b"b" * 100
    rest.wait(30)
    yield b"c" * 100
