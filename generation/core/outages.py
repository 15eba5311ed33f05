"""Detection of database and Redis outages, which are temporary, as opposed to faults of code."""

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
# SQLSTATE classes: connection, serialization and deadlock, resources, state, operator intervention,
# system. Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
POSTGRESQL_CLASSES = {"08", "40", "53", "55", "57", "58"}


class Outage(IntEnum):
    """A service that may be temporarily unavailable."""

    DATABASE = 0
    REDIS = 1


def find_outage(error: BaseException | None) -> Outage | None:
    """Return the service whose outage caused the error; None if it is a fault of the code."""
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
    """Return whether a driver's error is temporary, unlike a missing table or invalid SQL."""
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", None)
        return code is not None and code & 0xFF in SQLITE_CODES
    state: str | None = getattr(cause, "sqlstate", None)
    # No SQLSTATE: the server could not be reached.
    return state is None or state[:2] in POSTGRESQL_CLASSES
