"""Triggers that refuse changes to the events that put policies into force.

DELETE is left to PROTECT and to the missing permission: test databases are cleaned with it.
"""

from __future__ import annotations

from django.db import migrations

TABLE = "moderation_policyactivation"
SENTENCE = "policy activations are append-only"
SQLITE = [
    f"CREATE TRIGGER {TABLE}_no_update BEFORE UPDATE ON {TABLE} BEGIN SELECT RAISE(ABORT, '{SENTENCE}'); END"
]
POSTGRESQL = [
    f"""CREATE FUNCTION {TABLE}_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '{SENTENCE}';
    END $$""",
    f"CREATE TRIGGER {TABLE}_no_update BEFORE UPDATE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION {TABLE}_refuse()",
    f"ALTER TABLE {TABLE} ENABLE ALWAYS TRIGGER {TABLE}_no_update",
]
UNDO_SQLITE = [f"DROP TRIGGER {TABLE}_no_update"]
UNDO_POSTGRESQL = [f"DROP TRIGGER {TABLE}_no_update ON {TABLE}", f"DROP FUNCTION {TABLE}_refuse()"]


def lock(apps, schema_editor):
    for statement in SQLITE if schema_editor.connection.vendor == "sqlite" else POSTGRESQL:
        schema_editor.execute(statement)


def unlock(apps, schema_editor):
    is_sqlite = schema_editor.connection.vendor == "sqlite"
    for statement in UNDO_SQLITE if is_sqlite else UNDO_POSTGRESQL:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("moderation", "0047_policy_proposals")]
    operations = [migrations.RunPython(lock, unlock)]
