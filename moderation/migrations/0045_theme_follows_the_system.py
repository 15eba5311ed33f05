"""Themes follow the system until a person chooses one."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("moderation", "0044_operator_role")]

    operations = [
        migrations.AlterField(
            model_name="preferences",
            name="theme",
            field=models.CharField(
                choices=[("dark", "Dark"), ("light", "Light"), ("auto", "As the system")],
                default="auto",
                max_length=5,
            ),
        ),
    ]
