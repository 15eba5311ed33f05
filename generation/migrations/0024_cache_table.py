"""The table of Django's database cache, which all processes share without Redis."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.db import migrations

TABLE = "cache_entry"


def create(apps: Any, editor: Any) -> None:
    # Also with Redis, which may be turned off later.
    call_command("createcachetable", TABLE, database=editor.connection.alias, verbosity=0)


def delete(apps: Any, editor: Any) -> None:
    editor.execute(f"DROP TABLE IF EXISTS {editor.quote_name(TABLE)}")


class Migration(migrations.Migration):
    dependencies = [("generation", "0023_job_runs")]

    operations = [migrations.RunPython(create, delete)]
