"""Rights of the application's role on PostgreSQL: it owns nothing, and cannot rewrite the record.

The owner of the tables can remove their triggers, so Loupe should run as another role. Each run of
``manage.py migrate`` may add tables, so the rights are given again after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from django.db import connection

from moderation import append_only

ROLE: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
READ: Final = "SELECT"
ADD: Final = "SELECT, INSERT"
CHANGE: Final = "SELECT, UPDATE"
KEEP: Final = "SELECT, INSERT, UPDATE"
ALL: Final = "SELECT, INSERT, UPDATE, DELETE"
# Append-only by the triggers of their own migration.
HISTORY: Final = tuple(
    f"moderation_{name}" for name in ("legalhold", "heldimage", "legalholdlift", "retentionevent")
)
# Only migrations write these tables.
BY_MIGRATIONS: Final = ("django_migrations", "auth_permission", "django_content_type")


class GrantError(Exception):
    """A role that cannot be given rights; the message is for operators."""


def list_statements(role: str) -> Iterator[str]:
    """Yield the SQL that gives a role the rights of the application. Raises GrantError."""
    if connection.vendor != "postgresql":
        raise GrantError("Roles exist on PostgreSQL only. SQLite has no rights of its own.")
    if not ROLE.fullmatch(role):
        raise GrantError("Name the role with lower-case letters, digits and underscores.")
    _require_other_role(role)
    schema = "public"
    yield f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC"
    yield f"REVOKE ALL ON SCHEMA {schema} FROM {role}"
    yield f"GRANT USAGE ON SCHEMA {schema} TO {role}"
    yield f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM PUBLIC, {role}"
    yield f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA {schema} FROM PUBLIC, {role}"
    for table in sorted(connection.introspection.table_names()):
        yield f'GRANT {find_rights(table)} ON "{table}" TO {role}'
    yield f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role}"


def find_rights(table: str) -> str:
    """Return the rights of the application on a table."""
    if table in append_only.FROZEN or table in HISTORY:
        return ADD
    if table == "moderation_chainhead":
        return CHANGE
    if table in ("moderation_verification", "moderation_publishedhead"):
        return KEEP
    return READ if table in BY_MIGRATIONS else ALL


def _require_other_role(role: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT rolsuper, rolname = current_user FROM pg_roles WHERE rolname = %s", [role]
        )
        found = cursor.fetchone()
    if found is None:
        raise GrantError(
            f"There is no role {role}. Make it first: CREATE ROLE {role} LOGIN PASSWORD '…'"
        )
    if found[0]:
        raise GrantError(f"{role} is a superuser, whom no rights limit. Make another role.")
    if found[1]:
        raise GrantError(
            f"{role} is the role that owns the tables. Run this command as their owner"
            " (MIGRATION_DATABASE_URL), and name the role of the application."
        )
