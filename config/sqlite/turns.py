"""Whose turn it is to write: one lock among the threads of a process, one file lock among processes.

SQLite lets a writer that finds another one try again after pauses that grow to a tenth of a second. With eight people
deciding, most of the time nobody wrote, and the unluckiest waited for seconds. Here the next one starts at once.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path

POLL = 0.0005  # seconds between looks at another process's lock; only one thread of a process looks


class Turns:
    """The turns at one database. They only order who comes next; what keeps data whole is SQLite's own lock."""

    def __init__(self, database: str) -> None:
        self._thread = threading.Lock()
        self._file = os.open(Path(f"{database}-turns"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self, seconds: float) -> bool:
        """Wait for a turn; without one after so long, whoever asked may still try their luck."""
        deadline = time.monotonic() + seconds
        if not self._thread.acquire(timeout=seconds):
            return False
        while not self._lock_file():
            if time.monotonic() > deadline:
                self._thread.release()
                return False
            time.sleep(POLL)
        return True

    def give_back(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._thread.release()

    def _lock_file(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


_of: dict[tuple[int, str], Turns] = {}
_guard = threading.Lock()


def at(database: str) -> Turns:
    """One for each database and process: a child must not share its parent's open file, nor its lock."""
    key = (os.getpid(), database)
    with _guard:
        if key not in _of:
            _of[key] = Turns(database)
        return _of[key]
