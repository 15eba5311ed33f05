"""Give the roles their permissions on risk reports and prompt trials."""

from __future__ import annotations

from django.apps import apps as live_apps
from django.contrib.auth.management import create_permissions
from django.db import migrations

from moderation import roles


def give(apps, schema_editor):
    # Permissions are normally created after the last migration, but the groups need them here.
    create_permissions(
        live_apps.get_app_config("moderation"),
        verbosity=0,
        apps=apps,
        using=schema_editor.connection.alias,
    )
    roles.add_permissions(
        apps.get_model("auth", "Group"),
        apps.get_model("auth", "Permission"),
        models=["prompttrial", "riskreport"],
    )


class Migration(migrations.Migration):
    dependencies = [("moderation", "0060_risk_stats_and_prompt_trials")]

    operations = [migrations.RunPython(give, migrations.RunPython.noop)]
