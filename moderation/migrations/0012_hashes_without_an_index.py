"""Drop the index of hashes, which no query uses.

SQLite removes a unique constraint only by copying the table, which loses the triggers that keep it
append-only. They are therefore created again in the same transaction.
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
