"""See the package. Django loads a backend by this module's name."""

from __future__ import annotations

import sqlite3
from typing import Any

from django.db.backends.sqlite3 import base as django_base

from config.sqlite import turns
from config.sqlite.operations import DatabaseOperations, moment

Base: Any = django_base.DatabaseWrapper
sqlite3.register_converter("datetime", moment)  # in the place of Django's own


class DatabaseWrapper(Base):  # type: ignore[misc]  # what it overrides is no part of Django's typed interface
    """A transaction begins when it is this connection's turn to write, and its end is the next one's beginning."""

    ops_class = DatabaseOperations
    _turn: turns.Turns | None = None

    def _start_transaction_under_autocommit(self) -> None:
        self._wait_for_turn()
        try:
            super()._start_transaction_under_autocommit()
        except BaseException:
            self._end_turn()
            raise

    def _commit(self) -> Any:
        super()._commit()
        self._end_turn()

    def _rollback(self) -> Any:
        try:
            super()._rollback()
        finally:
            self._end_turn()

    def _close(self) -> Any:
        try:
            super()._close()
        finally:
            self._end_turn()

    def _wait_for_turn(self) -> None:
        if self._turn is not None or self.transaction_mode != "IMMEDIATE" or self.is_in_memory_db():
            return
        found = turns.at(str(self.settings_dict["NAME"]))
        if found.take(self.settings_dict["OPTIONS"].get("timeout", 5.0)):
            self._turn = found

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.give_back()
