"""Closing of database connections when their thread ends."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from typing import Any

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

_kept = threading.local()


class _Closer:
    """An object that closes a connection when it is deleted with its thread's local data."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    def __del__(self) -> None:
        if not sys.is_finalizing():
            with suppress(DatabaseError):
                self.connection.close()


def close_with_thread(connection: BaseDatabaseWrapper, **signal: Any) -> None:
    """Close a new connection when its thread ends; a receiver of ``connection_created``.

    granian ends threads after half a minute of idleness and starts new ones later. Django's
    connection objects contain reference cycles, so the connections of an ended thread would stay
    open until the garbage collector runs. Each burst of requests would then leave as many
    connections as there are threads, until PostgreSQL refuses more.
    """
    if getattr(_kept, connection.alias, None) is None:
        setattr(_kept, connection.alias, _Closer(connection))
