"""Kill a function at its n-th effect: a commit, a call to another server, or a change of a file.

The function runs in a forked child, which kills itself with SIGKILL just before the effect. A kill
after an effect is the kill before the next one. Calls count twice: before they are sent, and when
their answer has arrived but was not read.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpcore
import psycopg
from django.core.mail import EmailMessage
from django.db import connection, connections
from django.db.backends.signals import connection_created

WRITE = re.compile(r"\s*(?:INSERT|UPDATE|DELETE|REPLACE)\b", re.IGNORECASE)
FILE_CHANGES = ("replace", "rename", "link", "unlink", "remove", "mkdir", "rmdir", "fsync")
KILLED, BROKEN = -signal.SIGKILL, 1


class _Effects:
    """The counter of a child process. ``label`` names the last effect for messages."""

    def __init__(self, limit: int, pipe: int) -> None:
        self.count, self.limit, self.pipe = 0, limit, pipe
        self._lock = threading.Lock()

    def happen(self, label: str) -> None:
        with self._lock:
            self.count += 1
            os.write(self.pipe, f"{label}\n".encode())
            if self.count == self.limit:
                os.kill(os.getpid(), signal.SIGKILL)


def run_and_kill(function: Callable[[], object], *, at: int) -> tuple[bool, list[str]]:
    """Run the function in a child; return whether it was killed, and its effects until then."""
    close_databases()
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # The live server is a thread of this process. The child uses nothing of it.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os.close(reader)
        code = BROKEN
        try:
            _install(_Effects(at, writer))
            function()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        effects = pipe.read().splitlines()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, KILLED), f"the child ended with {code} after {effects}"
    if connection.vendor == "postgresql":
        _wait_for_rollback()
    return code == KILLED, effects


def close_databases() -> None:
    """Close this thread's connections before a fork, and wait until others have closed SQLite's.

    SQLite's locks do not survive a fork: what a child commits next to a connection of a server's
    thread can get lost.
    """
    connections.close_all()
    if connection.vendor != "sqlite":
        return
    name = str(connection.settings_dict["NAME"])
    for _ in range(300):
        if name not in _list_open_files():
            return
        time.sleep(0.1)
    raise AssertionError("a thread keeps its connection")


def _list_open_files() -> set[str]:
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found.add(os.readlink(link))
    return found


def _wait_for_rollback() -> None:
    """Wait until the server has noticed the death and released the locks.

    Until then, claims skip the locked rows as if they were not due.
    """
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'"
    )
    for _ in range(300):
        with connection.cursor() as cursor:
            cursor.execute(query)
            if cursor.fetchone() == (0,):
                return
        time.sleep(0.1)
    raise AssertionError("the transaction of the killed process is still open")


def _install(effects: _Effects) -> None:
    for name in FILE_CHANGES:
        _wrap(os, name, before=lambda *args, label=name: effects.happen(f"file {label}"))
    _wrap(EmailMessage, "send", before=lambda *args: effects.happen("mail"))
    _wrap_calls(effects)
    if connection.vendor == "sqlite":
        connection_created.connect(
            lambda connection, **_: _trace_sqlite(connection.connection, effects), weak=False
        )
    else:
        _count_postgres(effects)


def _wrap(owner: Any, name: str, *, before: Callable[..., None]) -> None:
    real = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        before(*args)
        return real(*args, **kwargs)

    setattr(owner, name, wrapped)


def _wrap_calls(effects: _Effects) -> None:
    send, send_async = (
        httpcore.ConnectionPool.handle_request,
        httpcore.AsyncConnectionPool.handle_async_request,
    )

    def handle_request(self: Any, request: httpcore.Request) -> httpcore.Response:
        effects.happen("call")
        response = send(self, request)
        effects.happen("answer")
        return response

    async def handle_async_request(self: Any, request: httpcore.Request) -> httpcore.Response:
        effects.happen("call")
        response = await send_async(self, request)
        effects.happen("answer")
        return response

    httpcore.ConnectionPool.handle_request = handle_request
    httpcore.AsyncConnectionPool.handle_async_request = handle_async_request


def _trace_sqlite(raw: Any, effects: _Effects) -> None:
    def trace(statement: str) -> None:
        if statement.startswith("COMMIT") or (not raw.in_transaction and WRITE.match(statement)):
            effects.happen(f"commit {statement[:60]}")

    raw.set_trace_callback(trace)


def _count_postgres(effects: _Effects) -> None:
    commit, execute = psycopg.Connection.commit, psycopg.Cursor.execute

    def counted_commit(self: Any) -> None:
        if self.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            effects.happen("commit")
        commit(self)

    def counted_execute(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        if self.connection.autocommit and WRITE.match(str(query)):
            effects.happen(f"commit {str(query)[:60]}")
        return execute(self, query, *args, **kwargs)

    psycopg.Connection.commit = counted_commit
    psycopg.Cursor.execute = counted_execute
