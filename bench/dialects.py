"""SQL that differs between the two databases when they are filled."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from django.db import connection

from generation.models import image_search

# Knuth's multiplicative hash: consecutive numbers get unrelated values, the same in every run.
SPREAD, RANGE = 2_654_435_761, 4_294_967_296


def chance(of: str, below: int, salt: int) -> str:
    """Return SQL for a pseudo-random number from 0 to ``below`` - 1, derived from ``of``."""
    return f"((({of}) * {SPREAD} + {salt * 97_003_657}) % {RANGE} / 4096 % {below})"


def pick(number: str, values: Sequence[object]) -> str:
    """Return a CASE that selects the value at this index.

    Values may be repeated, as weights.
    """
    cases = " ".join(f"WHEN {place} THEN {literal(value)}" for place, value in enumerate(values))
    return f"(CASE {number} {cases} END)"


def literal(value: object) -> str:
    if isinstance(value, int):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"


class Dialect(ABC):
    """SQL expressions and set-up of one database."""

    def __init__(self) -> None:
        self.dropped: list[str] = []  # SQL of dropped indexes and triggers, to be created again

    def execute(self, sql: str, params: Sequence[Any] | None = None) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql, params)

    def column(self, sql: str) -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return [row[0] for row in cursor.fetchall()]

    @abstractmethod
    def quick(self) -> None:
        """Trade safety for speed, and drop indexes that are faster to rebuild than to update."""

    def settled(self) -> None:
        """Create again what ``quick`` dropped, and restore production's settings."""
        for statement in self.dropped:
            self.execute(statement)
        self.dropped = []


class Sqlite(Dialect):
    bands = "json_each(loupe_bands(a.pdq))"
    band_key = "json_each.value"

    def series(self, count: int) -> str:
        return f"WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {count})"

    def uuid(self, tag: str, of: str) -> str:
        return f"md5('{tag}' || ({of}))"

    def sha256(self, tag: str, of: str) -> str:
        return f"sha256('{tag}' || ({of}))"

    def blob(self, of: str) -> str:
        return f"loupe_blob({of})"

    def at(self, epoch: str) -> str:
        return f"datetime({epoch}, 'unixepoch')"

    def json(self, text: str) -> str:
        return text

    def quick(self) -> None:
        connection.ensure_connection()
        raw = connection.connection
        raw.create_function("loupe_blob", 1, _blob, deterministic=True)
        raw.create_function("loupe_bands", 1, _bands, deterministic=True)
        for pragma in (
            "journal_mode=OFF",
            "synchronous=OFF",
            "foreign_keys=OFF",
            "cache_size=-1000000",
        ):
            self.execute(f"PRAGMA {pragma}")
        ours = "(tbl_name LIKE 'generation_%' OR tbl_name LIKE 'moderation_%') AND sql IS NOT NULL"
        # Including the triggers of the full-text index, which is rebuilt at the end. The triggers
        # that protect the record stay.
        wanted = (
            f"type = 'index' AND {ours} OR type = 'trigger' AND name LIKE"
            " 'generation_assettext_fts%'"
        )
        self.dropped = self.column(f"SELECT sql FROM sqlite_master WHERE {wanted}")
        for kind in ("index", "trigger"):
            for name in self.column(
                f"SELECT name FROM sqlite_master WHERE type = '{kind}' AND ({wanted})"
            ):
                self.execute(f"DROP {kind} {name}")

    def settled(self) -> None:
        self.execute(
            "INSERT INTO generation_assettext_fts(generation_assettext_fts) VALUES ('rebuild')"
        )
        super().settled()
        self.execute("PRAGMA journal_mode=WAL")


class PostgreSql(Dialect):
    bands = "generate_series(0, 15) AS place"
    band_key = "(place << 16) + get_byte(a.pdq, 2 * place) * 256 + get_byte(a.pdq, 2 * place + 1)"

    def series(self, count: int) -> str:
        return f"WITH s(i) AS (SELECT generate_series(1::bigint, {count}))"

    def uuid(self, tag: str, of: str) -> str:
        return f"md5('{tag}' || ({of}))::uuid"

    def sha256(self, tag: str, of: str) -> str:
        return f"encode(sha256(('{tag}' || ({of}))::bytea), 'hex')"

    def blob(self, of: str) -> str:
        return f"sha256((({of})::text)::bytea)"

    def at(self, epoch: str) -> str:
        return f"to_timestamp({epoch})"

    def json(self, text: str) -> str:
        return f"({text})::jsonb"

    def quick(self) -> None:
        self.execute("SET synchronous_commit = off")
        self.execute("SET maintenance_work_mem = '512MB'")
        # Superusers only. Rows are consistent by construction, so foreign keys need no check.
        with suppress(Exception):
            self.execute("SET session_replication_role = replica")
        plain = (
            "FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT IN (SELECT conname FROM"
            " pg_constraint) AND (tablename LIKE 'generation%' OR tablename LIKE 'moderation%')"
        )
        self.dropped = self.column(f"SELECT indexdef {plain}")
        for name in self.column(f"SELECT indexname {plain}"):
            self.execute(f'DROP INDEX "{name}"')

    def settled(self) -> None:
        super().settled()
        # Rows were inserted with IDs, so sequences continue after them.
        for table, sequence in self._sequences():
            self.execute(f"SELECT setval('{sequence}', (SELECT coalesce(max(id), 1) FROM {table}))")
        # Autovacuum would have done this by the time a database has so many rows.
        self.execute("VACUUM (ANALYZE)")

    def _sequences(self) -> list[tuple[str, str]]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT table_name, pg_get_serial_sequence(table_name, column_name) FROM"
                " information_schema.columns WHERE table_schema = 'public' AND column_name = 'id'"
                " AND is_identity = 'YES' AND (table_name LIKE 'generation%' OR table_name LIKE"
                " 'moderation%')"
            )
            return [
                (str(table), str(sequence)) for table, sequence in cursor.fetchall() if sequence
            ]


def _blob(of: object) -> bytes:
    return hashlib.sha256(str(of).encode()).digest()


def _bands(pdq: bytes) -> str:
    return json.dumps(image_search.split_bands(pdq))


def make_dialect() -> Sqlite | PostgreSql:
    return Sqlite() if connection.vendor == "sqlite" else PostgreSql()
