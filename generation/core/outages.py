"""Tell an outage of the database or of Redis, which ends by itself, from a fault of the code."""

from __future__ import annotations

import sqlite3
from enum import IntEnum

from django.db import InterfaceError, OperationalError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

RETRY_AFTER = 5  # seconds
# Busy, locked, out of memory, read-only, I/O error, disk full, file missing, locking protocol.
# Source: https://www.sqlite.org/rescode.html
SQLITE_CODES = {5, 6, 7, 8, 10, 13, 14, 15}
# Classes of SQLSTATE: connection, serialization and deadlock, resources, state, operator's
# intervention, system. Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
POSTGRESQL_CLASSES = {"08", "40", "53", "55", "57", "58"}


class Outage(IntEnum):
    DATABASE = 0
    REDIS = 1


def find_outage(error: BaseException | None) -> Outage | None:
    """Return which service's outage the error, or one that it was raised from, stands for; None for
    a fault.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, RedisConnectionError | RedisTimeoutError):
            return Outage.REDIS
        if isinstance(error, OperationalError | InterfaceError) and _is_temporary(error.__cause__):
            return Outage.DATABASE
        error = error.__cause__ or error.__context__
    return None


def _is_temporary(cause: BaseException | None) -> bool:
    """Whether the driver's own error is one that goes away, unlike a missing table or a statement
    too long.
    """
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", None)
        return code is not None and code & 0xFF in SQLITE_CODES
    state: str | None = getattr(cause, "sqlstate", None)
    # Without a SQLSTATE the server could not be asked at all.
    return state is None or state[:2] in POSTGRESQL_CLASSES
