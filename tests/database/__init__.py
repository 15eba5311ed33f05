"""The migrated test database as a file: made once per run, copied for every process and test.

Migrating takes half a minute of processor time, copying some milliseconds. SQLite only.
"""

from __future__ import annotations

import fcntl
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from django.core.management import call_command
from django.db import connection

_template: Path | None = None


def prepare(path: Path, target: Path) -> None:
    """Copy the migrated database at ``path`` to ``target``; the first process makes it."""
    global _template
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _migrate(path.with_suffix(".part"))
            path.with_suffix(".part").rename(path)
    shutil.copy(path, target)
    _template = path


def _migrate(path: Path) -> None:
    usual = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = path
    try:
        call_command("migrate", verbosity=0, interactive=False)
    finally:
        connection.close()
        connection.settings_dict["NAME"] = usual


def restore() -> bool:
    """Overwrite the open test database with the migrated one. Return whether there is one."""
    if _template is None:
        return False
    connection.ensure_connection()
    with closing(sqlite3.connect(f"file:{_template}?mode=ro", uri=True)) as source:
        source.backup(connection.connection)
    return True
