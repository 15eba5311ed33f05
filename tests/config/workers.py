"""Worker processes with a database of their own, observed through /proc."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from django.conf import settings

from generation.jobs import Pool

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = "tests.config.worker_settings"
WORKERS: int = settings.PERIODIC_WORKERS  # the sample jobs are periodic
POOLS = len(Pool)
KEPT = ("PATH", "HOME", "LANG", "VIRTUAL_ENV", "PYTHONPATH", "LD_LIBRARY_PATH")


PATIENCE = 120.0  # seconds; reached on failure only, other tests may keep the machine busy


def until(found: Callable[[], Any]) -> Any:
    """Call the function until it returns a true value, and return that value."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := found()):
        assert time.monotonic() < deadline, f"nothing after {PATIENCE} seconds"
        time.sleep(0.02)
    return answer


def environment(data_dir: Path, module: str = SETTINGS, **more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    own = {
        "DATA_DIR": str(data_dir),
        "SECRET_KEY": "only-for-tests-" + "s" * 50,
        "DJANGO_SETTINGS_MODULE": module,
    }
    return {**kept, **own, **more}


def processes() -> dict[int, tuple[int, int]]:
    """Return pid → (parent, session) of every living process, without zombies."""
    found = {}
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            pid = int(folder.name)
            state, parent, _group, session = (
                (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            )
            if state != "Z":
                found[pid] = (int(parent), int(session))
    return found


def children(pid: int) -> list[int]:
    """Return the child processes in the order of their process ids."""
    return sorted(child for child, (parent, _) in processes().items() if parent == pid)


class Program:
    """A management command in its own process session."""

    def __init__(
        self, data_dir: Path, *arguments: str, module: str = SETTINGS, **more: str
    ) -> None:
        self.database = data_dir / "db.sqlite3"
        self.log = data_dir / "log"
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", *arguments],
                cwd=ROOT,
                env=environment(data_dir, module, **more),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *error: object) -> None:
        for pid in self.session():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def session(self) -> list[int]:
        return [pid for pid, (_, session) in processes().items() if session == self.process.pid]

    def code(self) -> int:
        return self.process.wait(PATIENCE)

    def sql(self, statement: str, *values: object) -> list[Any]:
        with closing(
            sqlite3.connect(self.database, timeout=20, isolation_level=None)
        ) as connection:
            return connection.execute(statement, values).fetchall()


class Worker(Program):
    """A running ``manage.py qworker`` whose processes have started."""

    def __init__(
        self, data_dir: Path, *arguments: str, module: str = SETTINGS, workers: int = WORKERS
    ) -> None:
        super().__init__(data_dir, "qworker", *arguments, module=module)
        try:
            until(
                lambda: self.process.poll() is not None or self.size == workers + 2
            )  # monitor and pusher
            assert self.process.poll() is None, self.log.read_text()
        except BaseException:
            self.__exit__()
            raise

    @property
    def size(self) -> int:
        return len(children(self.sentinel)) if self.sentinel else 0

    @property
    def sentinel(self) -> int:
        """Return the sentinel of the pool of periodic jobs; 0 before all sentinels run."""
        sentinels = children(self.process.pid)
        return sentinels[list(Pool).index(Pool.PERIODIC)] if len(sentinels) == POOLS else 0

    def add(self, name: str) -> None:
        """Add a row for a sample job, as another process would, without a wake-up."""
        self.sql("INSERT INTO auth_group (name) VALUES (?)", name)

    def is_done(self, name: str) -> bool:
        return bool(self.sql("SELECT 1 FROM auth_group WHERE name LIKE ?", f"done {name} %"))

    def lease(self, name: str) -> str:
        """Return the end of the lease of a job slot, or "" if the job does not run."""
        rows = self.sql(
            "SELECT running_until FROM generation_jobslot WHERE name = ? AND host != ''", name
        )
        return (rows and rows[0][0]) or ""
