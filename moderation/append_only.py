"""Triggers that refuse changes to the record and to what explains it, in both databases.

They also hold for queryset.update(), raw SQL and the admin site. The owner of the tables can remove
them, so a verification compares them with this module. Migrations that change one of these tables
call ``unlock`` before and ``lock`` after: SQLite copies the table and loses its triggers.

Row triggers do not fire for TRUNCATE on PostgreSQL, so it has its own. Empty tables may be
truncated, because test databases are cleaned that way. ENABLE ALWAYS keeps the triggers active with
session_replication_role = replica. On SQLite, INSERT OR REPLACE fires the delete triggers only with
PRAGMA recursive_triggers (config.settings).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection as default_connection

# Tables whose rows are never changed or deleted, and what their rows are called.
FROZEN: Final = {
    "moderation_decision": "decisions",
    "moderation_recordevent": "events of the record",
    "moderation_policyactivation": "policy activations",
    "moderation_teamevent": "events of the team",
    "moderation_accesstrace": "traces",
    "django_admin_log": "entries of the admin log",
}
POLICY_COLUMNS: Final = (
    *("id", "version", "name", "note", "nsfw_level", "nsfw_review_at", "nsfw_reject_at"),
    *("may_approve", "approves_imports", "trusted_silences", "accepted_unchecked"),
    *("requires_full_coverage", "reuses_approvals", "trusts_allow_lists", "delivers_rendition"),
)
POLICY_PARTS: Final = ("moderation_policyrule", "moderation_askrule", "moderation_earnedtrust")
HEAD_COLUMNS: Final = ("id", "target", "place", "sequence", "hash", "statement", "created_at")
PUBLISHED_COLUMNS: Final = (*HEAD_COLUMNS, "status", "published_at", "receipt")
_USED: Final = (
    "(EXISTS (SELECT 1 FROM moderation_review WHERE policy_id = {policy})"
    " OR EXISTS (SELECT 1 FROM moderation_decision WHERE policy_id = {policy}))"
)
_NO_DECISION: Final = (
    "NOT EXISTS (SELECT 1 FROM moderation_decision WHERE sequence = NEW.sequence"
    " AND hash = NEW.hash)"
)
_NO_EVENT: Final = (
    "NOT EXISTS (SELECT 1 FROM moderation_recordevent WHERE sequence = NEW.events"
    " AND hash = NEW.event_hash)"
)
_BACKWARD: Final = " OR ".join(
    (
        "NEW.id <> OLD.id OR NEW.sequence < OLD.sequence OR NEW.events < OLD.events",
        "NEW.version < OLD.version",
        "(NEW.sequence = OLD.sequence AND NEW.hash <> OLD.hash)",
        "(NEW.events = OLD.events AND (NEW.event_hash <> OLD.event_hash"
        " OR NEW.key_id <> OLD.key_id OR NEW.version <> OLD.version))",
        f"(NEW.sequence > OLD.sequence AND {_NO_DECISION})",
        f"(NEW.events > OLD.events AND {_NO_EVENT})",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """A trigger that refuses one kind of statement on one table.

    ``condition`` is an SQL expression over OLD and NEW; ``{differs}`` is the operator that compares
    nulls too.
    """

    table: str
    verb: str  # INSERT, UPDATE, DELETE or TRUNCATE
    message: str
    condition: str = ""

    @property
    def name(self) -> str:
        return f"{self.table}_guard_{self.verb.lower()}"

    @property
    def body(self) -> str:
        """The body of the trigger's function on PostgreSQL."""
        condition = self.condition.format(differs="IS DISTINCT FROM") or "TRUE"
        rest = {"DELETE": "OLD", "TRUNCATE": "NULL"}.get(self.verb, "NEW")
        return (
            f" BEGIN IF {condition} THEN RAISE EXCEPTION '{self.message}'; END IF;"
            f" RETURN {rest}; END "
        )

    def create(self, vendor: str) -> Iterator[str]:
        if vendor == "sqlite":
            if self.verb != "TRUNCATE":
                yield self.sqlite
            return
        each = "STATEMENT" if self.verb == "TRUNCATE" else "ROW"
        yield f"CREATE FUNCTION {self.name}() RETURNS trigger LANGUAGE plpgsql AS $${self.body}$$"
        yield (
            f"CREATE TRIGGER {self.name} BEFORE {self.verb} ON {self.table} FOR EACH {each}"
            f" EXECUTE FUNCTION {self.name}()"
        )
        yield f"ALTER TABLE {self.table} ENABLE ALWAYS TRIGGER {self.name}"

    @property
    def sqlite(self) -> str:
        condition = self.condition.format(differs="IS NOT")
        when = f" WHEN {condition}" if condition else ""
        return (
            f"CREATE TRIGGER {self.name} BEFORE {self.verb} ON {self.table}{when}"
            f" BEGIN SELECT RAISE(ABORT, '{self.message}'); END"
        )

    def drop(self, vendor: str) -> Iterator[str]:
        if vendor == "sqlite":
            yield f"DROP TRIGGER IF EXISTS {self.name}"
            return
        yield f"DROP TRIGGER IF EXISTS {self.name} ON {self.table}"
        yield f"DROP FUNCTION IF EXISTS {self.name}()"


def _changes(columns: Iterable[str]) -> str:
    return "(" + " OR ".join(f"OLD.{name} {{differs}} NEW.{name}" for name in columns) + ")"


def _list_guards() -> Iterator[Guard]:
    for table, rows in FROZEN.items():
        message = f"{rows} are append-only"
        yield Guard(table=table, verb="UPDATE", message=message)
        yield Guard(table=table, verb="DELETE", message=message)
        yield Guard(
            table=table,
            verb="TRUNCATE",
            message=message,
            condition=f"EXISTS (SELECT 1 FROM {table})",
        )
    yield Guard(
        table="moderation_decision",
        verb="INSERT",
        message="the form of this decision is not that of the record: restart this process",
        condition="NEW.version <> (SELECT version FROM moderation_chainhead WHERE id = 1)",
    )
    yield from _list_head_guards()
    yield from _list_policy_guards()


def _list_head_guards() -> Iterator[Guard]:
    head = "the head of the chain only moves on"
    yield Guard(
        table="moderation_chainhead", verb="UPDATE", message=head, condition=f"({_BACKWARD})"
    )
    yield Guard(table="moderation_chainhead", verb="DELETE", message=head)
    yield _guard_truncation("moderation_chainhead", head)
    finished = "OLD.status = 'finished'"
    verified = "finished verifications never change"
    for verb in ("UPDATE", "DELETE"):
        yield Guard(
            table="moderation_verification", verb=verb, message=verified, condition=finished
        )
    yield _guard_truncation("moderation_verification", verified)
    published = "published heads never change"
    is_published = f"(OLD.status = 'published' AND {_changes(PUBLISHED_COLUMNS)})"
    yield Guard(
        table="moderation_publishedhead",
        verb="UPDATE",
        message=published,
        condition=f"({_changes(HEAD_COLUMNS)} OR {is_published})",
    )
    yield Guard(table="moderation_publishedhead", verb="DELETE", message=published)
    yield _guard_truncation("moderation_publishedhead", published)


def _list_policy_guards() -> Iterator[Guard]:
    message = "a policy that was used never changes"
    yield Guard(
        table="moderation_policy",
        verb="UPDATE",
        message=message,
        condition=f"({_changes(POLICY_COLUMNS)} AND {_USED.format(policy='OLD.id')})",
    )
    for table in POLICY_PARTS:
        for verb, rows in {"INSERT": ["NEW"], "UPDATE": ["OLD", "NEW"], "DELETE": ["OLD"]}.items():
            used = " OR ".join(_USED.format(policy=f"{row}.policy_id") for row in rows)
            yield Guard(table=table, verb=verb, message=message, condition=f"({used})")
        yield _guard_truncation(table, message)


def _guard_truncation(table: str, message: str) -> Guard:
    """Refuse to empty a table while there are decisions."""
    return Guard(
        table=table,
        verb="TRUNCATE",
        message=message,
        condition="EXISTS (SELECT 1 FROM moderation_decision)",
    )


GUARDS: Final = tuple(_list_guards())


def lock(apps: Any, schema_editor: Any) -> None:
    """Create the triggers of all tables that exist, replacing those of an earlier version."""
    unlock(apps, schema_editor)
    for guard in _list_present(schema_editor.connection):
        for statement in guard.create(schema_editor.connection.vendor):
            schema_editor.execute(statement)


def unlock(apps: Any, schema_editor: Any) -> None:
    for guard in _list_present(schema_editor.connection):
        for statement in guard.drop(schema_editor.connection.vendor):
            schema_editor.execute(statement)


def _list_present(connection: Any) -> list[Guard]:
    """Return the triggers on tables that exist: a migration may run before later tables."""
    tables = set(connection.introspection.table_names())
    return [guard for guard in GUARDS if guard.table in tables]


# --- Verification ---
def find_faults(connection: Any = default_connection) -> list[str]:
    """Return a message for each trigger that is missing, disabled or altered."""
    expected: dict[str, Any]
    if connection.vendor == "sqlite":
        present = _read_sqlite(connection)
        expected = {guard.name: guard.sqlite for guard in GUARDS if guard.verb != "TRUNCATE"}
    else:
        present = _read_postgresql(connection)
        expected = {guard.name: _describe(guard) for guard in GUARDS}
    return [
        f"The trigger {name} {'was altered' if name in present else 'is missing'}: changes that"
        " it refuses were possible."
        for name, definition in expected.items()
        if present.get(name) != definition
    ]


def _read_sqlite(connection: Any) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        return dict(cursor.fetchall())


_TYPE: Final = {"INSERT": 4, "DELETE": 8, "UPDATE": 16, "TRUNCATE": 32}
_FOR_EACH_ROW: Final = 1
_BEFORE: Final = 2
_ALWAYS: Final = "A"


def _describe(guard: Guard) -> tuple[Any, ...]:
    kind = _TYPE[guard.verb] | _BEFORE | (0 if guard.verb == "TRUNCATE" else _FOR_EACH_ROW)
    return (guard.table, _ALWAYS, kind, False, guard.body)


def _read_postgresql(connection: Any) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT t.tgname, c.relname, t.tgenabled::text, t.tgtype::int, t.tgqual IS NOT NULL,"
            " p.prosrc FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
            " JOIN pg_proc p ON p.oid = t.tgfoid"
            " WHERE NOT t.tgisinternal AND pg_table_is_visible(c.oid)"
        )
        return {row[0]: tuple(row[1:]) for row in cursor.fetchall()}
