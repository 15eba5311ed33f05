from __future__ import annotations

import gc
import http.client
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from tests.deploy.servers import wait_until

BURST = 8


def open_connection(opened: list[BaseDatabaseWrapper]) -> None:
    connection = connections["default"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert connection.connection is not None
    opened.append(connection)


@pytest.mark.django_db(transaction=True)
def test_connection_of_an_ended_thread_is_closed_when_the_next_one_opens() -> None:
    """Do not wait for the garbage collector, which may run hours later."""
    opened: list[BaseDatabaseWrapper] = []
    gc.disable()
    try:
        for _ in range(2):
            thread = threading.Thread(target=open_connection, args=[opened])
            thread.start()
            thread.join()
        assert opened[0].connection is None
        assert opened[1].connection is not None
    finally:
        gc.enable()
        opened[1].inc_thread_sharing()
        opened[1].close()


# --- With the real web server ---


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start the web server on a SQLite file. It ends its threads after five idle seconds."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {
        "PATH": os.environ["PATH"],
        "DATA_DIR": str(tmp_path),
        "SECRET_KEY": "only-for-tests-" + "k" * 40,
        "DEBUG": "1",
        "PORT": str(port),
    }
    run = {"cwd": settings.BASE_DIR, "env": variables}
    subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], check=True, **run)
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--http", "1"]
    command += ["--port", str(port), "--blocking-threads", str(BURST)]
    command += ["--blocking-threads-idle-timeout", "5", "config.wsgi:application"]
    process = subprocess.Popen(command, **run)
    try:
        wait_until(lambda: has_ended(process) or ready(port) is not None, "the web server")
        yield process, port
    finally:
        process.terminate()
        process.wait()


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is not None


def ready(port: int) -> int | None:
    """Return the status of /readyz, which queries the database, or None if nothing listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def threads_of(process: subprocess.Popen[bytes]) -> int:
    """Return the number of threads of the web server's worker process."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    tasks = (Path(f"/proc/{child}/task") for child in children)
    return sum(len(list(task.iterdir())) for task in tasks if task.exists())


@pytest.mark.slow
def test_web_server_survives_the_end_of_threads_that_used_the_database(
    server: tuple[subprocess.Popen[bytes], int],
) -> None:
    process, port = server
    for _ in range(2):
        burst = [threading.Thread(target=ready, args=[port]) for _ in range(4 * BURST)]
        for thread in burst:
            thread.start()
        for thread in burst:
            thread.join()
        busy = threads_of(process)
        wait_until(lambda busy=busy: has_ended(process) or threads_of(process) < busy - 1, "idle")
        assert not has_ended(process)
        assert ready(port) is not None
