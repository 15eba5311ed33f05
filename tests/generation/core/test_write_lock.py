"""The write lock for SQLite, which writers get in the order of their requests."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from generation.core.db import write_lock
from generation.core.db.write_lock import atomic_in_turn

ALIAS = "turns"
LONG = 60  # seconds; only a failing test waits for them


@pytest.fixture
def database(tmp_path: Path, django_db_blocker: pytest.FixtureRequest) -> Iterator[str]:
    """Create a SQLite database in a file; the test database in memory needs no write lock."""
    settings = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "db.sqlite3")}
    settings["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "timeout": LONG}
    configured = connections.configure_settings({"default": {}, ALIAS: settings})
    connections.settings[ALIAS] = configured[ALIAS]
    with django_db_blocker.unblock():
        with connections[ALIAS].cursor() as cursor:
            cursor.execute("CREATE TABLE entries (name TEXT)")
        yield ALIAS
        connections[ALIAS].close()
    del connections.settings[ALIAS]
    del connections[ALIAS]


def entries() -> list[str]:
    with connections[ALIAS].cursor() as cursor:
        return [name for (name,) in cursor.execute("SELECT name FROM entries")]


def write(name: str) -> None:
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("INSERT INTO entries VALUES (%s)", [name])


def test_second_writer_waits_for_the_first(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    is_inside, may_leave, is_queued = threading.Event(), threading.Event(), threading.Event()
    flock = fcntl.flock

    def lock_and_report(file: Any, operation: int) -> None:
        try:
            flock(file, operation)
        except BlockingIOError:
            is_queued.set()
            raise

    # Like two processes, whose threads share no lock.
    monkeypatch.setattr(write_lock, "_threads", threading.Semaphore(2))

    monkeypatch.setattr(fcntl, "flock", lock_and_report)
    errors: list[Exception] = []

    def first() -> None:
        try:
            with atomic_in_turn(ALIAS):
                write("first")
                is_inside.set()
                may_leave.wait(LONG)
        finally:
            connections[ALIAS].close()

    def second() -> None:
        try:
            with atomic_in_turn(ALIAS):
                write("second")
        except Exception as error:
            errors.append(error)
        finally:
            connections[ALIAS].close()

    holder = threading.Thread(target=first)
    holder.start()
    assert is_inside.wait(LONG)
    waiting = threading.Thread(target=second)
    waiting.start()
    assert is_queued.wait(LONG)
    may_leave.set()
    holder.join(LONG)
    waiting.join(LONG)
    assert (entries(), errors) == (["first", "second"], [])


def test_writer_goes_on_without_the_lock_after_the_timeout(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is stopped while it holds the lock must not stop the others."""
    monkeypatch.setitem(connections[ALIAS].settings_dict["OPTIONS"], "timeout", 0)
    with open(f"{connections[ALIAS].settings_dict['NAME']}-turns", "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with atomic_in_turn(ALIAS):
            write("without the lock")
    assert entries() == ["without the lock"]


def test_nested_block_does_not_take_the_write_lock_again(database: str) -> None:
    with atomic_in_turn(ALIAS), atomic_in_turn(ALIAS):
        write("nested")
    assert entries() == ["nested"]


def write_and_fail() -> None:
    with atomic_in_turn(ALIAS):
        write("undone")
        raise ZeroDivisionError


def test_failed_block_is_rolled_back_and_releases_the_write_lock(database: str) -> None:
    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    with atomic_in_turn(ALIAS):
        write("next")
    assert entries() == ["next"]
