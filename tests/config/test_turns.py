"""Writers on SQLite wait in turn, and no turn is ever lost."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import DatabaseError, connection, transaction

from config.sqlite import turns
from moderation.models import WordTally

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL has many writers"),
]


def is_free() -> bool:
    turn = turns.at(str(connection.settings_dict["NAME"]))
    taken = turn.take(0)
    if taken:
        turn.give_back()
    return taken


def in_a_thread(work: Callable[[], None]) -> threading.Thread:
    def whole() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=whole)
    thread.start()
    return thread


def test_a_transaction_has_its_turn_from_beginning_to_end() -> None:
    assert is_free()
    with transaction.atomic():
        assert not is_free()
        with transaction.atomic():
            WordTally.objects.create(word="inner")
        assert not is_free(), "a savepoint is no end"
    assert is_free()
    WordTally.objects.update(decided=1)
    assert is_free(), "a single statement needs none"


def test_whatever_ends_it_gives_the_turn_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        raise ZeroDivisionError
    assert is_free()

    with transaction.atomic():
        transaction.set_rollback(True)
    assert is_free()

    def die() -> None:
        transaction.atomic().__enter__()
        assert not is_free()
        connection.close()  # in the middle of it

    in_a_thread(die).join()
    assert is_free()

    def refuse(*_: object) -> None:
        raise DatabaseError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr("django.db.backends.sqlite3.base.DatabaseWrapper._start_transaction_under_autocommit", refuse)
        with pytest.raises(DatabaseError), transaction.atomic():
            pass
    assert is_free()


def test_many_writers_lose_nothing() -> None:
    WordTally.objects.create(word="counted")

    def count() -> None:
        for _ in range(25):
            with transaction.atomic():
                tally = WordTally.objects.get()
                tally.decided += 1
                tally.save()

    for thread in [in_a_thread(count) for _ in range(6)]:
        thread.join()
    assert WordTally.objects.get().decided == 150
    assert is_free()


HOLDER = """
import sys
from config.sqlite import turns
turns.at(sys.argv[1]).take(5)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_killed_process_leaves_no_turn_behind(tmp_path: Path) -> None:
    database = str(tmp_path / "some.sqlite3")
    root = Path(__file__).parents[2]
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, database], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        assert not turns.at(database).take(0.05), "another process has it"
    finally:
        holder.kill()
        holder.communicate()

    assert turns.at(database).take(5)
    turns.at(database).give_back()


def test_who_gets_no_turn_in_time_tries_anyway(monkeypatch: pytest.MonkeyPatch) -> None:
    turn = turns.at(str(connection.settings_dict["NAME"]))
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 0.05)
    assert turn.take(1)
    try:
        with transaction.atomic():
            WordTally.objects.create(word="nobody-was-writing")
        assert not is_free(), "what was not taken is not given back"
    finally:
        turn.give_back()
    assert WordTally.objects.count() == 1
