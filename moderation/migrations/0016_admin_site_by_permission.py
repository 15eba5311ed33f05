"""Admit policy leads and auditors to the admin site by a permission, without staff status."""

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
    roles.sync(apps.get_model("auth", "Group"), apps.get_model("auth", "Permission"))


class Migration(migrations.Migration):
    dependencies = [("moderation", "0015_names_in_the_admin")]

    operations = [
        migrations.AlterModelOptions(
            name="policy",
            options={
                "permissions": [
                    ("activate_policy", "Can put a policy into force"),
                    ("use_admin_site", "Can open the admin site without being staff"),
                ],
                "verbose_name_plural": "policies",
            },
        ),
        migrations.RunPython(give, migrations.RunPython.noop),
    ]
