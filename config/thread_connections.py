"""Database connections that end with their thread."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from typing import Any

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

_kept = threading.local()


class _Closer:
    """Closes a connection when it is deleted itself, which happens when its thread ends."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    def __del__(self) -> None:
        if not sys.is_finalizing():
            with suppress(DatabaseError):
                self.connection.close()


def close_with_thread(connection: BaseDatabaseWrapper, **signal: Any) -> None:
    """Receive ``connection_created``.

    granian ends threads that have been idle for half a minute and starts others later. Django's
    connection objects refer to each other in circles, so those of an ended thread would stay open
    until the garbage collector comes by: each burst of requests would leave as many connections as
    there are threads, until PostgreSQL refuses more.
    """
    if getattr(_kept, connection.alias, None) is None:
        setattr(_kept, connection.alias, _Closer(connection))
