"""A fair lock for short, frequent write transactions on SQLite."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DEFAULT_DB_ALIAS, connections, transaction


@contextmanager
def atomic_in_turn(using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """Run a block as ``transaction.atomic`` does, after the writers that came earlier.

    SQLite lets one writer in and makes the others poll, at intervals up to 100 ms and without an
    order, so an unlucky writer waits for seconds. ``flock`` queues them in the kernel, across
    threads and processes of one host, and releases the lock of a process that dies.

    The lock only orders writers. SQLite's own lock still protects the data from writers that do not
    use this function. PostgreSQL and nested blocks need no order and get none.

    Source: https://sqlite.org/c3ref/busy_timeout.html (sqliteDefaultBusyCallback).
    """
    connection = connections[using]
    database = str(connection.settings_dict["NAME"])
    is_in_memory = "mode=memory" in database or database == ":memory:"
    if connection.vendor != "sqlite" or connection.in_atomic_block or is_in_memory:
        with transaction.atomic(using=using):
            yield
        return
    with open(f"{database}-turns", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with transaction.atomic(using=using):
            yield
