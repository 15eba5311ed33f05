"""Web servers for the time of a measurement."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.places import ROOT

READY_WITHIN = 30.0


@contextmanager
def run_granian(
    application: str, *, workers: int, env: dict[str, str], ready: str, log: Path
) -> Iterator[int]:
    """Run the application as in production; yield its port.

    ``ready`` is a path that returns 200 once the server runs.
    """
    port = find_free_port()
    command = [
        sys.executable,
        "-m",
        "granian",
        "--interface",
        "wsgi",
        "--http",
        "1",
        "--blocking-threads",
        "8",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    sizes = ["--workers", str(workers), "--workers-kill-timeout", "3", "--log-level", "error"]
    more = {**env, "PORT": str(port), "PUBLIC_URL": f"http://127.0.0.1:{port}"}
    with log.open("w") as file:
        server = subprocess.Popen(
            [*command, *sizes, application], cwd=ROOT, env=more, stdout=file, stderr=file
        )
        try:
            _wait(server, port, ready, log)
            yield port
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: subprocess.Popen[bytes], port: int, ready: str, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"The server ended by itself: {log.read_text()[-2000:]}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", ready)
            if connection.getresponse().status == http.client.OK:
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
        finally:
            connection.close()
    raise RuntimeError(f"The server did not answer within {READY_WITHIN:.0f} seconds.")
