"""The signed form of decisions, events of the record, and triggers of both.

Reversible until a decision was signed: an older version cannot verify signed ones.
"""

from __future__ import annotations

from importlib import import_module

import django.utils.timezone
from django.db import migrations, models

from moderation import append_only

EARLIER = ("0002_append_only", "0048_policy_activations_append_only", "0054_team")


def _earlier():
    return [import_module(f"moderation.migrations.{name}") for name in EARLIER]


def unlock_earlier(apps, schema_editor):
    for migration in _earlier():
        migration.unlock(apps, schema_editor)


def lock_earlier(apps, schema_editor):
    for migration in _earlier():
        migration.lock(apps, schema_editor)


def refuse_if_signed(apps, schema_editor):
    if apps.get_model("moderation", "Decision").objects.filter(version=2).exists():
        raise RuntimeError(
            "The record has signed decisions, which an older version of Loupe cannot verify."
        )


class Migration(migrations.Migration):
    dependencies = [
        ("moderation", "0070_second_factor_events"),
        ("admin", "0003_logentry_add_action_flag_choices"),
    ]

    operations = [
        migrations.RunPython(unlock_earlier, lock_earlier),
        migrations.AddField(
            model_name="chainhead",
            name="event_hash",
            field=models.CharField(blank=True, db_default="", default="", max_length=64),
        ),
        migrations.AddField(
            model_name="chainhead",
            name="events",
            field=models.BigIntegerField(
                db_default=0, default=0, help_text="Sequence of the last event."
            ),
        ),
        migrations.AddField(
            model_name="chainhead",
            name="key_id",
            field=models.CharField(
                blank=True, db_default="", default="", max_length=8, verbose_name="key"
            ),
        ),
        migrations.AddField(
            model_name="chainhead",
            name="version",
            field=models.PositiveSmallIntegerField(db_default=1, default=1),
        ),
        migrations.AddField(
            model_name="decision",
            name="evidence",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                help_text="SHA-256 of the classifiers' results at that time.",
                max_length=64,
            ),
        ),
        migrations.AddField(
            model_name="decision",
            name="version",
            field=models.PositiveSmallIntegerField(
                db_default=1,
                default=1,
                editable=False,
                help_text="Form of the hash: 1 without a key, 2 signed.",
            ),
        ),
        migrations.AddField(
            model_name="verification",
            name="event_head",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Last hash of the events at that time.",
                max_length=64,
            ),
        ),
        migrations.AddField(
            model_name="verification",
            name="events_until",
            field=models.BigIntegerField(
                db_default=0,
                default=0,
                help_text="Last event of the record at the start.",
                verbose_name="events",
            ),
        ),
        migrations.AddField(
            model_name="verification",
            name="files",
            field=models.PositiveIntegerField(
                db_default=0,
                default=0,
                help_text="Number of files compared with their hash.",
                verbose_name="files read",
            ),
        ),
        migrations.AddField(
            model_name="verification",
            name="position",
            field=models.BigIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="verification",
            name="reads_all_files",
            field=models.BooleanField(
                db_default=False, default=False, help_text="All files are read, not only a sample."
            ),
        ),
        migrations.AddField(
            model_name="verification",
            name="reviews",
            field=models.BigIntegerField(
                db_default=0, default=0, help_text="Number of images whose state was replayed."
            ),
        ),
        migrations.AddField(
            model_name="verification",
            name="stage",
            field=models.CharField(
                choices=[
                    ("decisions", "Decisions"),
                    ("states", "States of the images"),
                    ("files", "Files"),
                ],
                db_default="decisions",
                default="decisions",
                max_length=9,
            ),
        ),
        migrations.CreateModel(
            name="RecordEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("sequence", models.BigIntegerField(unique=True)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("seal", "Record sealed"),
                            ("key", "Key changed"),
                            ("policy", "Policy put into force"),
                            ("access", "Access of a person changed"),
                            ("role", "Permissions of a role changed"),
                            ("verification", "Record verified"),
                            ("head", "Head published"),
                            ("rows", "Rows noted"),
                            ("hold", "Legal hold changed"),
                            ("purge", "Images purged"),
                            ("hash list", "Hash list changed"),
                            ("learned head", "Learned head changed"),
                        ],
                        max_length=20,
                    ),
                ),
                ("subject", models.CharField(blank=True, max_length=150)),
                ("payload", models.JSONField(default=dict)),
                ("decisions", models.BigIntegerField(help_text="Last decision before the event.")),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("key_id", models.CharField(max_length=8, verbose_name="key")),
                ("previous_hash", models.CharField(blank=True, max_length=64)),
                ("hash", models.CharField(max_length=64)),
            ],
            options={
                "indexes": [
                    models.Index(
                        fields=["kind", "subject", "-sequence"], name="record_event_subject"
                    ),
                    models.Index(fields=["decisions"], name="record_event_decisions"),
                ],
            },
        ),
        migrations.RunPython(append_only.lock, append_only.unlock),
        migrations.RunPython(migrations.RunPython.noop, refuse_if_signed),
    ]
