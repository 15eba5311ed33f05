"""Verifications in steps, and published heads. Earlier verifications were complete when stored."""

from __future__ import annotations

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models
from django.db.models import F


def finish_earlier(apps, schema_editor):
    rows = apps.get_model("moderation", "Verification").objects
    rows.update(status="finished", until=F("decisions"), finished_at=F("created_at"))


class Migration(migrations.Migration):
    dependencies = [
        ("moderation", "0050_import_set_permissions"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="PublishedHead",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("due_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("lease", models.UUIDField(blank=True, editable=False, null=True)),
                ("attempts", models.PositiveSmallIntegerField(default=0, editable=False)),
                (
                    "target",
                    models.CharField(
                        choices=[("file", "File"), ("address", "Address"), ("mail", "Mail")],
                        max_length=7,
                    ),
                ),
                ("place", models.TextField()),
                ("sequence", models.BigIntegerField()),
                ("hash", models.CharField(max_length=64)),
                ("statement", models.JSONField(help_text="The statement as it was signed.")),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("published", "Published"),
                            ("superseded", "Superseded by a newer one"),
                        ],
                        default="waiting",
                        max_length=10,
                    ),
                ),
                ("error", models.TextField(blank=True)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("published_at", models.DateTimeField(blank=True, editable=False, null=True)),
            ],
        ),
        migrations.AddField(
            model_name="verification",
            name="attempts",
            field=models.PositiveSmallIntegerField(default=0, editable=False),
        ),
        migrations.AddField(
            model_name="verification",
            name="due_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name="verification",
            name="finished_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name="verification",
            name="heads",
            field=models.PositiveIntegerField(
                default=0,
                help_text="Number of earlier heads that were compared.",
                verbose_name="heads compared",
            ),
        ),
        migrations.AddField(
            model_name="verification",
            name="last_hash",
            field=models.CharField(blank=True, editable=False, max_length=64),
        ),
        migrations.AddField(
            model_name="verification",
            name="lease",
            field=models.UUIDField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name="verification",
            name="messages",
            field=models.JSONField(
                blank=True, default=list, help_text="The first faults, one sentence each."
            ),
        ),
        migrations.AddField(
            model_name="verification",
            name="status",
            field=models.CharField(
                choices=[("running", "Running"), ("finished", "Finished")],
                default="running",
                max_length=8,
            ),
        ),
        migrations.AddField(
            model_name="verification",
            name="until",
            field=models.BigIntegerField(
                default=0, help_text="Last decision at the start, up to which the record is read."
            ),
        ),
        migrations.AlterField(
            model_name="verification",
            name="decisions",
            field=models.BigIntegerField(help_text="Number of decisions read so far."),
        ),
        # Before the foreign key, whose pending triggers would refuse changes of the table.
        migrations.RunPython(finish_earlier, migrations.RunPython.noop),
        migrations.AddField(
            model_name="verification",
            name="started_by",
            field=models.ForeignKey(
                blank=True,
                help_text="Empty: started by a command.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddIndex(
            model_name="verification",
            index=models.Index(
                condition=models.Q(("due_at__isnull", False)),
                fields=["due_at"],
                name="verification_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="verification",
            constraint=models.CheckConstraint(
                condition=models.Q(("status", "running"), ("status", "finished"), _connector="OR"),
                name="verification_status_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="verification",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "running")),
                fields=("status",),
                name="verification_one_running",
            ),
        ),
        migrations.AddIndex(
            model_name="publishedhead",
            index=models.Index(
                condition=models.Q(("due_at__isnull", False)),
                fields=["due_at"],
                name="published_head_due",
            ),
        ),
        migrations.AddIndex(
            model_name="publishedhead",
            index=models.Index(fields=["sequence"], name="published_head_sequence"),
        ),
        migrations.AddConstraint(
            model_name="publishedhead",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("target", "file"), ("target", "address"), ("target", "mail"), _connector="OR"
                ),
                name="published_head_target_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="publishedhead",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("status", "waiting"),
                    ("status", "published"),
                    ("status", "superseded"),
                    _connector="OR",
                ),
                name="published_head_status_known",
            ),
        ),
    ]
