"""Closing of database connections whose thread has ended."""

from __future__ import annotations

import sys
import threading
from collections import deque
from contextlib import suppress
from typing import Any

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

_owned = threading.local()
_abandoned: deque[BaseDatabaseWrapper] = deque()


class _Owner:
    """An object that reports a connection when it is deleted with its thread's local data.

    It must not close the connection itself. Python deletes local data while it destroys the thread
    state. SQLite then runs the destructors of Django's SQL functions, each of which takes and
    releases the GIL, and the release destroys the thread state a second time: the process dies with
    a segmentation fault (https://github.com/python/cpython/issues/119585, fixed in Python 3.12.4).
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    def __del__(self) -> None:
        if not sys.is_finalizing():
            _abandoned.append(self.connection)


def close_abandoned(connection: BaseDatabaseWrapper, **signal: Any) -> None:
    """Close the connections of ended threads; a receiver of ``connection_created``.

    granian ends threads after half a minute of idleness and starts new ones later. Django's
    connection objects contain reference cycles, so the connections of an ended thread would stay
    open until the garbage collector runs. Each burst of requests would then leave as many
    connections as there are threads, until PostgreSQL refuses more. A new connection is the
    occasion to close them: without one, their number does not grow.
    """
    if getattr(_owned, connection.alias, None) is None:
        setattr(_owned, connection.alias, _Owner(connection))
    while _abandoned:
        with suppress(IndexError):  # another thread took the last one
            _close(_abandoned.popleft())


def _close(connection: BaseDatabaseWrapper) -> None:
    connection.inc_thread_sharing()
    with suppress(DatabaseError):
        connection.close()
