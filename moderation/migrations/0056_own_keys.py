"""Add the keys that a person has chosen for actions of the desk."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("moderation", "0055_trial_judgement_permissions")]

    operations = [
        migrations.AddField(
            model_name="preferences",
            name="own_keys",
            field=models.JSONField(blank=True, default=dict),
        ),
    ]
