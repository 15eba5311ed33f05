"""A fair lock for short, frequent write transactions on SQLite."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from django.db import DEFAULT_DB_ALIAS, connections, transaction

RETRY_AFTER = 0.001  # seconds; one thread of each process retries
DEFAULT_TIMEOUT = 5.0  # seconds, as in sqlite3

_threads = threading.Lock()


@contextmanager
def atomic_in_turn(using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """Run a block as ``transaction.atomic`` does, with one such writer at a time.

    SQLite lets one writer in and makes the others poll, at intervals up to 100 ms and without an
    order, so an unlucky writer waits for seconds. A lock among the threads of a process and a file
    lock among processes admit these writers one by one. The kernel releases the file lock of a
    process that dies.

    The locks only order writers. SQLite's own lock still protects the data. A writer that has
    waited for the connection's ``timeout`` option goes on without them, and SQLite decides.
    PostgreSQL and nested blocks need no order and get none.

    Source: https://sqlite.org/c3ref/busy_timeout.html (sqliteDefaultBusyCallback).
    """
    connection = connections[using]
    database = str(connection.settings_dict["NAME"])
    is_in_memory = "mode=memory" in database or database == ":memory:"
    if connection.vendor != "sqlite" or connection.in_atomic_block or is_in_memory:
        with transaction.atomic(using=using):
            yield
        return
    timeout = connection.settings_dict.get("OPTIONS", {}).get("timeout", DEFAULT_TIMEOUT)
    with _write_lock(f"{database}-turns", timeout), transaction.atomic(using=using):
        yield


@contextmanager
def _write_lock(path: str, timeout: float) -> Iterator[None]:
    """Hold the lock of threads and processes, or neither after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    has_lock = _threads.acquire(timeout=timeout)
    try:
        with open(path, "ab") as file:
            while not _lock(file) and time.monotonic() < deadline:
                time.sleep(RETRY_AFTER)
            yield
    finally:
        if has_lock:
            _threads.release()


def _lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
