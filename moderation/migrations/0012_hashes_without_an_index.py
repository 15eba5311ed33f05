"""Take the index of hashes away, which nothing asks.

SQLite cannot take a column's uniqueness away but by copying the table, which leaves the triggers behind that keep it
append-only; so they are made anew, in the same transaction.
"""

from __future__ import annotations

from importlib import import_module

from django.db import migrations, models

append_only = import_module("moderation.migrations.0002_append_only")


class Migration(migrations.Migration):
    dependencies = [("moderation", "0011_waiting_indexes")]

    operations = [
        migrations.RunPython(append_only.unlock, append_only.lock),
        migrations.AlterField(
            model_name="decision", name="hash", field=models.CharField(max_length=64)
        ),
        migrations.RunPython(append_only.lock, append_only.unlock),
    ]
