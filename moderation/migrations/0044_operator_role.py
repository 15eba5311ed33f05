"""Add the roles operator and integrator, so that no daily work needs staff status."""

from __future__ import annotations

from django.apps import apps as live_apps
from django.contrib.auth.management import create_permissions
from django.db import migrations

from moderation import roles


def create(apps, schema_editor):
    # Permissions are normally created after the last migration, but the groups need them here.
    for label in ("generation", "moderation"):
        create_permissions(
            live_apps.get_app_config(label),
            verbosity=0,
            apps=apps,
            using=schema_editor.connection.alias,
        )
    roles.create_roles(
        apps.get_model("auth", "Group"),
        apps.get_model("auth", "Permission"),
        names=["operator", "integrator"],
    )


class Migration(migrations.Migration):
    dependencies = [
        ("moderation", "0043_earned_trust_permissions"),
        ("generation", "0019_team_permissions"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="delivery",
            options={
                "permissions": [
                    (
                        "view_operations",
                        "Can see workers, storage, housekeeping and webhook deliveries",
                    )
                ],
                "verbose_name_plural": "deliveries",
            },
        ),
        migrations.RunPython(create, migrations.RunPython.noop),
    ]
