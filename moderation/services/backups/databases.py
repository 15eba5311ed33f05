"""Copies of the database: SQLite's own backup, and pg_dump with pg_restore."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from moderation.services.backups.folder import BackupError, sync_folder

SQLITE, POSTGRESQL = "sqlite", "postgresql"
FILES = {SQLITE: "database.sqlite3", POSTGRESQL: "database.dump"}
_HEAD = "SELECT sequence, hash FROM moderation_chainhead WHERE id = 1"


@dataclass(frozen=True, slots=True)
class Copied:
    """A copy of the database, with the head of the chain and the last asset in it."""

    path: Path
    sequence: int
    hash: str
    last_asset: int


def list_applied_migrations() -> list[str]:
    """Return the names of the migrations that the database has, such as ``axes.0001_initial``."""
    applied = MigrationRecorder(connection).applied_migrations()
    return sorted(f"{app}.{name}" for app, name in applied)


def list_unknown_migrations(applied: Iterable[str]) -> list[str]:
    """Return the migrations of installed apps that this version of Loupe does not have."""
    known = {f"{app}.{name}" for app, name in MigrationLoader(None).disk_migrations}
    apps = {migration.partition(".")[0] for migration in known}
    return sorted(name for name in {*applied} - known if name.partition(".")[0] in apps)


def dump(folder: Path) -> Copied:
    """Copy the database as it is at one moment, while others write. Raises BackupError."""
    path = folder / FILES[connection.vendor]
    return _dump_sqlite(path) if connection.vendor == SQLITE else _dump_postgresql(path)


def _dump_sqlite(path: Path) -> Copied:
    source = f"file:{connection.settings_dict['NAME']}?mode=ro"
    try:
        with (
            closing(sqlite3.connect(source, uri=True, timeout=60)) as live,
            closing(sqlite3.connect(path)) as copy,
        ):
            live.backup(copy)
            # The copy must be one file: no write-ahead log beside it.
            copy.execute("PRAGMA journal_mode=DELETE")
            fault = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
            if fault != "ok":
                raise BackupError(f"The database is damaged: {fault}.")
            head = copy.execute(_HEAD).fetchone()
            last = copy.execute("SELECT MAX(id) FROM generation_asset").fetchone()[0]
    except sqlite3.Error as error:
        raise BackupError(f"The database cannot be copied: {error}.") from error
    _sync(path)
    return Copied(path, head[0], head[1], last or 0)


def _dump_postgresql(path: Path) -> Copied:
    # One snapshot for the head of the chain and for pg_dump.
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SELECT pg_export_snapshot()")
        snapshot = cursor.fetchone()[0]
        cursor.execute(_HEAD)
        head = cursor.fetchone()
        cursor.execute("SELECT MAX(id) FROM generation_asset")
        last = cursor.fetchone()[0]
        _run(
            "pg_dump",
            "--format=custom",
            "--no-owner",
            "--no-privileges",
            f"--snapshot={snapshot}",
            f"--file={path}",
        )
    _sync(path)
    return Copied(path, head[0], head[1], last or 0)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
    sync_folder(path.parent)


def find_obstacle() -> str:
    """Return why nothing can be restored into this database; "" if it is empty."""
    if connection.vendor == SQLITE:
        path = Path(connection.settings_dict["NAME"])
        if not path.exists():
            return ""
    tables = connection.introspection.table_names()
    connection.close()
    if tables:
        return f"The database is not empty: it has {len(tables)} tables."
    return ""


def load(path: Path, vendor: str) -> None:
    """Fill the empty database from a copy of the same kind. Raises BackupError."""
    if vendor != connection.vendor:
        raise BackupError(f"The backup is of {vendor}, and DATABASE_URL names {connection.vendor}.")
    connection.close()
    if vendor == SQLITE:
        _load_sqlite(path)
    else:
        _run(
            "pg_restore",
            "--exit-on-error",
            "--single-transaction",
            "--no-owner",
            "--no-privileges",
            f"--dbname={connection.settings_dict['NAME']}",
            str(path),
        )


def _load_sqlite(path: Path) -> None:
    target = Path(connection.settings_dict["NAME"])
    part = target.with_name(f"{target.name}.{uuid4().hex}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, part)
        _sync(part)
        for ending in ("-wal", "-shm"):
            target.with_name(target.name + ending).unlink(missing_ok=True)
        os.replace(part, target)
        sync_folder(target.parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise BackupError(f"{target} cannot be written: {error.strerror}.") from error


def _run(program: str, *arguments: str) -> None:
    """Run a program of PostgreSQL with the connection in its environment: no secret on its line."""
    try:
        done = subprocess.run(
            [program, *arguments],
            env={**os.environ, **_build_environment()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
        )
    except FileNotFoundError:
        raise BackupError(
            f"{program} is missing. Install PostgreSQL's client programs in the server's version."
        ) from None
    if done.returncode:
        message = done.stderr.decode(errors="replace").strip()[-600:]
        raise BackupError(f"{program} failed: {message}")


def _build_environment() -> dict[str, str]:
    given: dict[str, Any] = connection.settings_dict
    options = given.get("OPTIONS", {})
    found = {
        "PGHOST": given["HOST"],
        "PGPORT": given["PORT"],
        "PGUSER": given["USER"],
        "PGPASSWORD": given["PASSWORD"],
        "PGDATABASE": given["NAME"],
        "PGSSLMODE": options.get("sslmode"),
        "PGSSLROOTCERT": options.get("sslrootcert"),
        "PGCONNECT_TIMEOUT": options.get("connect_timeout"),
    }
    return {name: str(value) for name, value in found.items() if value}
