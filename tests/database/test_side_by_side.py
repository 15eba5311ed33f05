"""Migrations since the last release work with its code (docs/adr/0045)."""

from __future__ import annotations

import pytest
from django.db import models
from django.db.migrations import Migration, operations
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

# App → its last migration in the last release. The rule begins with release 0.2.0, whose numbers
# come here when it is made; until then no migration is compared.
RELEASED: dict[str, str] = {}
REMOVING = (
    operations.RemoveField,
    operations.DeleteModel,
    operations.RenameField,
    operations.RenameModel,
    operations.AlterModelTable,
)


def find_problem(operation: Operation) -> str:
    """Return why the code of the release before could not work after this operation, or ""."""
    if isinstance(operation, REMOVING):
        return f"{operation.describe()}: old code still reads it"
    if isinstance(operation, operations.AddField):
        field = operation.field
        if not field.null and not field.many_to_many and field.db_default is models.NOT_PROVIDED:
            return f"{operation.describe()}: old code inserts rows without it"
    if isinstance(operation, operations.AlterField) and not operation.field.null:
        return f"{operation.describe()}: old code may write NULL; say why not in the migration"
    if isinstance(operation, operations.AddConstraint):
        return f"{operation.describe()}: old code may break it"
    return ""


def list_operations(migration: Migration) -> list[Operation]:
    """Return the operations that reach the database."""
    found: list[Operation] = []
    for each in migration.operations:
        is_split = isinstance(each, operations.SeparateDatabaseAndState)
        found += each.database_operations if is_split else [each]
    return found


def test_migrations_since_the_last_release_work_with_its_code() -> None:
    problems = {
        f"{app}.{name}": problem
        for (app, name), migration in MigrationLoader(None).disk_migrations.items()
        if app in RELEASED and name > RELEASED[app]
        for operation in list_operations(migration)
        if (problem := find_problem(operation))
    }

    assert problems == {}


@pytest.mark.parametrize(
    ("operation", "is_safe"),
    [
        (operations.AddField("asset", "x", models.IntegerField(null=True)), True),
        (operations.AddField("asset", "x", models.IntegerField(db_default=0)), True),
        (operations.AddField("asset", "x", models.IntegerField(default=0)), False),
        (operations.AddField("asset", "x", models.ManyToManyField("asset")), True),
        (operations.RemoveField("asset", "x"), False),
        (operations.RenameField("asset", "x", "y"), False),
        (operations.DeleteModel("asset"), False),
        (operations.CreateModel("thing", []), True),
        (operations.RunPython(operations.RunPython.noop), True),
        (
            operations.AddConstraint(
                "asset", models.CheckConstraint(condition=models.Q(x=1), name="x")
            ),
            False,
        ),
    ],
)
def test_rule_refuses_what_old_code_cannot_work_with(operation: Operation, is_safe: bool) -> None:
    assert (find_problem(operation) == "") == is_safe


def test_removal_from_the_state_alone_is_safe() -> None:
    migration = Migration("0001", "app")
    migration.operations = [
        operations.SeparateDatabaseAndState(state_operations=[operations.RemoveField("asset", "x")])
    ]

    assert [each for each in list_operations(migration) if find_problem(each)] == []
