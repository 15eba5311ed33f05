"""Add the keys that a person has chosen for actions of the desk."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("moderation", "0057_period_counts")]

    operations = [
        migrations.AddField(
            model_name="preferences",
            name="own_keys",
            field=models.JSONField(blank=True, default=dict),
        ),
    ]
