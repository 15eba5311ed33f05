"""Add reviews for the policy lead, and the permission to decide them."""

from __future__ import annotations

from django.apps import apps as live_apps
from django.contrib.auth.management import create_permissions
from django.db import migrations, models


def give(apps, schema_editor):
    """Give policy leads this one permission. All others stay as the house has set them."""
    # Permissions are normally created after the last migration, but the group needs it here.
    create_permissions(
        live_apps.get_app_config("moderation"),
        verbosity=0,
        apps=apps,
        using=schema_editor.connection.alias,
    )
    wanted = apps.get_model("auth", "Permission").objects.filter(
        content_type__app_label="moderation", codename="decide_lead_review"
    )
    for group in apps.get_model("auth", "Group").objects.filter(name="policy lead"):
        group.permissions.add(*wanted)


class Migration(migrations.Migration):
    dependencies = [("moderation", "0052_published_head_permissions")]

    operations = [
        migrations.AlterModelOptions(
            name="review",
            options={
                "permissions": [
                    ("decide_review", "Can approve, reject and escalate"),
                    (
                        "decide_escalated_review",
                        "Can decide escalated reviews and reverse anybody's decision",
                    ),
                    ("decide_lead_review", "Can decide reviews escalated to the policy lead"),
                ]
            },
        ),
        migrations.AddField(
            model_name="review",
            name="for_lead",
            field=models.BooleanField(
                default=False,
                editable=False,
                help_text="A policy lead decides this escalated image.",
                verbose_name="for the policy lead",
            ),
        ),
        migrations.AddIndex(
            model_name="review",
            index=models.Index(
                condition=models.Q(("for_lead", True)),
                fields=["-risk", "id"],
                name="review_for_lead",
            ),
        ),
        migrations.AddConstraint(
            model_name="review",
            constraint=models.CheckConstraint(
                condition=models.Q(("for_lead", False), ("status", "escalated"), _connector="OR"),
                name="review_for_lead_is_escalated",
            ),
        ),
        migrations.RunPython(give, migrations.RunPython.noop),
    ]
