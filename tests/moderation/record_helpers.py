"""Changes of the record that its triggers refuse, as somebody with the database could make them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from django.apps import apps
from django.db import connection

from moderation.models import ChainHead, Decision


def drop_triggers() -> None:
    if connection.vendor != "sqlite":
        with connection.schema_editor() as editor:
            import_module("moderation.migrations.0002_append_only").unlock(apps, editor)
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in cursor.fetchall():
            if name.startswith("moderation_decision"):
                cursor.execute(f"DROP TRIGGER {name}")


def rebuild_chain(change: Callable[[Decision], None]) -> None:
    """Change decisions and compute all hashes again, so that the chain is consistent."""
    drop_triggers()
    previous = ""
    for row in Decision.objects.order_by("sequence"):
        change(row)
        row.previous_hash = previous
        row.hash = previous = row.compute_hash()
        row.save()
    ChainHead.objects.filter(pk=1).update(hash=previous)
