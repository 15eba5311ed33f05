"""Covering index for the number of decisions a person made today."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("moderation", "0012_hashes_without_an_index")]

    operations = [
        migrations.RemoveIndex(model_name="decision", name="decision_mine"),
        migrations.AddIndex(
            model_name="decision",
            index=models.Index(fields=["reviewer", "-sequence", "verdict"], name="decision_mine"),
        ),
    ]
