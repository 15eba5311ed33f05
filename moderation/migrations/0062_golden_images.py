"""Add golden images and their answers, and give roles the permissions on golden images."""

from __future__ import annotations

import uuid

import django.db.models.deletion
import django.utils.timezone
from django.apps import apps as live_apps
from django.conf import settings
from django.contrib.auth.management import create_permissions
from django.db import migrations, models

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
        models=["goldenimage"],
    )


class Migration(migrations.Migration):
    dependencies = [
        ("moderation", "0061_risk_permissions"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="GoldenImage",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                (
                    "verdict",
                    models.CharField(
                        choices=[
                            ("approve", "Approve"),
                            ("reject", "Reject"),
                            ("escalate", "Escalate"),
                            ("reopen", "Reverse"),
                        ],
                        max_length=8,
                    ),
                ),
                (
                    "is_blurred",
                    models.BooleanField(default=False, verbose_name="delivered blurred"),
                ),
                ("categories", models.JSONField(default=list)),
                (
                    "explanation",
                    models.TextField(
                        blank=True,
                        help_text="Shown to a person after the answer and the time to undo it.",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("retired_at", models.DateTimeField(blank=True, null=True)),
                (
                    "marked_by",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "retired_by",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "review",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="golden_images",
                        to="moderation.review",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="GoldenAnswer",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("asked_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("answered_at", models.DateTimeField(blank=True, null=True)),
                (
                    "verdict",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("approve", "Approve"),
                            ("reject", "Reject"),
                            ("escalate", "Escalate"),
                            ("reopen", "Reverse"),
                        ],
                        max_length=8,
                    ),
                ),
                ("is_blurred", models.BooleanField(default=False)),
                ("categories", models.JSONField(default=list)),
                ("note", models.TextField(blank=True)),
                (
                    "seconds",
                    models.DecimalField(blank=True, decimal_places=1, max_digits=8, null=True),
                ),
                (
                    "person",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "golden_image",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="answers",
                        to="moderation.goldenimage",
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="goldenimage",
            constraint=models.UniqueConstraint(
                condition=models.Q(("retired_at__isnull", True)),
                fields=("review",),
                name="golden_image_in_use_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="goldenimage",
            constraint=models.CheckConstraint(
                condition=models.Q(("verdict__in", ["approve", "reject"])),
                name="golden_image_is_settled",
            ),
        ),
        migrations.AddIndex(
            model_name="goldenanswer",
            index=models.Index(fields=["person", "answered_at"], name="golden_answer_mine"),
        ),
        migrations.AddConstraint(
            model_name="goldenanswer",
            constraint=models.UniqueConstraint(
                fields=("golden_image", "person"), name="golden_answer_once_a_person"
            ),
        ),
        migrations.AddConstraint(
            model_name="goldenanswer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("answered_at__isnull", True), ("verdict", "")),
                    models.Q(
                        ("answered_at__isnull", False),
                        ("verdict__in", ["approve", "reject", "escalate"]),
                    ),
                    _connector="OR",
                ),
                name="golden_answer_is_whole",
            ),
        ),
        migrations.RunPython(give, migrations.RunPython.noop),
    ]
