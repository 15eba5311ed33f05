"""Traces of looking and exporting, their triggers, and the permissions of auditors."""

from __future__ import annotations

import uuid

import django.db.models.deletion
import django.utils.timezone
from django.apps import apps as live_apps
from django.conf import settings
from django.contrib.auth.management import create_permissions
from django.db import migrations, models

from moderation import append_only, roles


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
        models=["accesstrace", "recordevent"],
    )


class Migration(migrations.Migration):
    dependencies = [
        ("generation", "0023_job_runs"),
        ("moderation", "0071_signed_record"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="AccessTrace",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "uuid",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, unique=True, verbose_name="UUID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("image", "Saw the image unblurred"),
                            ("original", "Saw a picture of the original"),
                            ("evidence", "Read the evidence as JSON"),
                            ("export", "Started an export"),
                            ("export end", "Ended an export"),
                            ("refused", "Refused by a limit"),
                        ],
                        max_length=10,
                    ),
                ),
                ("person_name", models.CharField(max_length=150)),
                ("details", models.JSONField(blank=True, default=dict)),
                (
                    "rows",
                    models.PositiveBigIntegerField(
                        blank=True, help_text="Exported rows.", null=True
                    ),
                ),
                (
                    "sha256",
                    models.CharField(
                        blank=True,
                        help_text="Of the exported file.",
                        max_length=64,
                        verbose_name="SHA-256",
                    ),
                ),
                (
                    "is_complete",
                    models.BooleanField(
                        blank=True,
                        help_text="No: the transfer was interrupted.",
                        null=True,
                        verbose_name="complete",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                (
                    "asset",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="traces",
                        to="generation.asset",
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "start",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="end",
                        to="moderation.accesstrace",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["person", "-created_at"], name="access_trace_person"),
                    models.Index(
                        condition=models.Q(("asset__isnull", False)),
                        fields=["asset", "-id"],
                        name="access_trace_asset",
                    ),
                    models.Index(fields=["kind", "-created_at"], name="access_trace_kind"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("kind", "image"),
                            ("kind", "original"),
                            ("kind", "evidence"),
                            ("kind", "export"),
                            ("kind", "export end"),
                            ("kind", "refused"),
                            _connector="OR",
                        ),
                        name="access_trace_kind_known",
                    )
                ],
            },
        ),
        migrations.RunPython(append_only.lock, migrations.RunPython.noop),
        migrations.RunPython(give, migrations.RunPython.noop),
    ]
