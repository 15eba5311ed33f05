"""Retention rules, erasures, legal holds and the use of the storage, with their permissions."""

from __future__ import annotations

import uuid

import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.apps import apps as live_apps
from django.conf import settings
from django.contrib.auth.management import create_permissions
from django.db import migrations, models

from moderation import roles

SENTENCE = "the history of holds and removals is append-only"
TABLES = [
    f"moderation_{name}" for name in ("legalhold", "heldimage", "legalholdlift", "retentionevent")
]


def lock(apps, schema_editor):
    is_sqlite = schema_editor.connection.vendor == "sqlite"
    for table in TABLES:
        if is_sqlite:
            for verb in ("UPDATE", "DELETE"):
                schema_editor.execute(
                    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table}"
                    f" BEGIN SELECT RAISE(ABORT, '{SENTENCE}'); END"
                )
            continue
        schema_editor.execute(
            f"""CREATE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                RAISE EXCEPTION '{SENTENCE}';
            END $$"""
        )
        schema_editor.execute(
            f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION {table}_refuse()"
        )
        schema_editor.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_no_change")


def unlock(apps, schema_editor):
    is_sqlite = schema_editor.connection.vendor == "sqlite"
    for table in TABLES:
        if is_sqlite:
            schema_editor.execute(f"DROP TRIGGER {table}_no_update")
            schema_editor.execute(f"DROP TRIGGER {table}_no_delete")
        else:
            schema_editor.execute(f"DROP TRIGGER {table}_no_change ON {table}")
            schema_editor.execute(f"DROP FUNCTION {table}_refuse()")


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
        models=["retentionrule", "erasure", "legalhold"],
    )


class Migration(migrations.Migration):
    dependencies = [
        ("generation", "0025_tombstones"),
        ("moderation", "0066_running_totals"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="RetentionEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=80)),
                ("action", models.CharField(max_length=300)),
                ("person_name", models.CharField(blank=True, max_length=150)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
            ],
            options={
                "ordering": ("-pk",),
            },
        ),
        migrations.CreateModel(
            name="LegalHold",
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
                    "scope",
                    models.CharField(
                        choices=[
                            ("images", "Images"),
                            ("request", "A request"),
                            ("end_user", "An end user"),
                        ],
                        max_length=8,
                    ),
                ),
                ("about", models.CharField(max_length=500)),
                ("end_user", models.CharField(blank=True, max_length=200)),
                ("reason", models.TextField()),
                ("placed_by_name", models.CharField(max_length=150)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                (
                    "placed_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "request",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="holds",
                        to="generation.generationrequest",
                    ),
                ),
            ],
            options={
                "ordering": ("-pk",),
                "permissions": [("lift_legalhold", "Can lift legal holds")],
            },
        ),
        migrations.CreateModel(
            name="HeldImage",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "asset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="held",
                        to="generation.asset",
                    ),
                ),
                (
                    "hold",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="images",
                        to="moderation.legalhold",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="LegalHoldLift",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("reason", models.TextField()),
                ("lifted_by_name", models.CharField(max_length=150)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                (
                    "hold",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="lift",
                        to="moderation.legalhold",
                    ),
                ),
                (
                    "lifted_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="RetentionRule",
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
                    "uuid",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, unique=True, verbose_name="UUID"
                    ),
                ),
                ("name", models.CharField(max_length=80, unique=True)),
                ("is_on", models.BooleanField(default=False, editable=False, verbose_name="on")),
                (
                    "days",
                    models.PositiveIntegerField(
                        help_text="Since the decision; of undecided images, since the arrival.",
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(36500),
                        ],
                        verbose_name="Age in days",
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("decided", "Approved or rejected"),
                            ("approved", "Approved"),
                            ("rejected", "Rejected"),
                            ("undecided", "Undecided"),
                        ],
                        default="decided",
                        help_text="An undecided image is rejected when it is removed. It is never approved.",
                        max_length=9,
                    ),
                ),
                (
                    "source",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("txt2img", "Text to image"),
                            ("upload", "Imported file"),
                            ("scenario", "Scenario"),
                            ("api", "API"),
                        ],
                        help_text="Empty: any.",
                        max_length=8,
                    ),
                ),
                (
                    "end_user",
                    models.CharField(
                        blank=True,
                        help_text="Id as programs send it. Empty: any.",
                        max_length=200,
                        verbose_name="End user",
                    ),
                ),
                (
                    "purges_texts",
                    models.BooleanField(
                        default=False,
                        help_text="Of a request, once all its images are removed. Search by words ends then.",
                        verbose_name="Remove prompts and file names too",
                    ),
                ),
                (
                    "purges_hashes",
                    models.BooleanField(
                        default=False,
                        help_text="The SHA-256 stays. Without the perceptual hash, look-alikes are not found.",
                        verbose_name="Remove perceptual hashes too",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("last_run_at", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "purged",
                    models.PositiveBigIntegerField(
                        default=0, editable=False, verbose_name="removed images"
                    ),
                ),
                ("error", models.TextField(blank=True, editable=False)),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="StorageScan",
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
                ("started_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "position",
                    models.PositiveIntegerField(
                        default=0, help_text="Number of folders that are read."
                    ),
                ),
                (
                    "counts",
                    models.JSONField(
                        default=dict, help_text="Files, bytes and orphans by kind so far."
                    ),
                ),
                ("error", models.TextField(blank=True)),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("due_at__isnull", False)),
                        fields=["due_at"],
                        name="storage_scan_due",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="StorageUsage",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("day", models.DateField()),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("renditions", "Renditions"),
                            ("thumbnails", "Thumbnails"),
                            ("originals", "Originals"),
                            ("views", "Views of originals"),
                            ("blurred", "Blurred images"),
                            ("database", "Database"),
                            ("models", "Models of classifiers"),
                        ],
                        max_length=10,
                    ),
                ),
                ("files", models.PositiveBigIntegerField(default=0)),
                ("bytes", models.PositiveBigIntegerField(default=0)),
                (
                    "orphans",
                    models.PositiveBigIntegerField(
                        default=0, help_text="Files without a row, older than an hour."
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "storage usage",
                "constraints": [
                    models.UniqueConstraint(fields=("day", "kind"), name="storage_usage_once_a_day")
                ],
            },
        ),
        migrations.CreateModel(
            name="Erasure",
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
                    "uuid",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, unique=True, verbose_name="UUID"
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[("running", "Running"), ("finished", "Finished")],
                        default="running",
                        max_length=8,
                    ),
                ),
                ("end_user", models.CharField(blank=True, max_length=200)),
                (
                    "end_user_sha256",
                    models.CharField(max_length=64, verbose_name="SHA-256 of the end user"),
                ),
                ("reason", models.CharField(max_length=200)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("images", models.PositiveIntegerField(default=0, verbose_name="removed images")),
                (
                    "requests",
                    models.PositiveIntegerField(default=0, verbose_name="requests without texts"),
                ),
                (
                    "held",
                    models.PositiveIntegerField(default=0, verbose_name="images on legal hold"),
                ),
                ("error", models.TextField(blank=True)),
                (
                    "ordered_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("-pk",),
                "indexes": [
                    models.Index(
                        condition=models.Q(("due_at__isnull", False)),
                        fields=["due_at"],
                        name="erasure_due",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status", "running")),
                        fields=("end_user",),
                        name="erasure_running_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["running", "finished"])),
                        name="erasure_status_known",
                    ),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="legalhold",
            index=models.Index(
                condition=models.Q(("end_user", ""), _negated=True),
                fields=["end_user"],
                name="legal_hold_end_user",
            ),
        ),
        migrations.AddConstraint(
            model_name="legalhold",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("end_user", ""), ("request__isnull", True), ("scope", "images")),
                    models.Q(("end_user", ""), ("request__isnull", False), ("scope", "request")),
                    models.Q(
                        ("request__isnull", True),
                        ("scope", "end_user"),
                        models.Q(("end_user", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="legal_hold_names_its_target",
            ),
        ),
        migrations.AddConstraint(
            model_name="legalhold",
            constraint=models.CheckConstraint(
                condition=models.Q(("reason", ""), _negated=True), name="legal_hold_has_a_reason"
            ),
        ),
        migrations.AddConstraint(
            model_name="heldimage",
            constraint=models.UniqueConstraint(
                fields=("hold", "asset"), name="held_image_once_a_hold"
            ),
        ),
        migrations.AddConstraint(
            model_name="legalholdlift",
            constraint=models.CheckConstraint(
                condition=models.Q(("reason", ""), _negated=True),
                name="legal_hold_lift_has_a_reason",
            ),
        ),
        migrations.AddIndex(
            model_name="retentionrule",
            index=models.Index(
                condition=models.Q(("due_at__isnull", False)),
                fields=["due_at"],
                name="retention_rule_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="retentionrule",
            constraint=models.CheckConstraint(
                condition=models.Q(("days__gte", 1), ("days__lte", 36500)),
                name="retention_rule_has_an_age",
            ),
        ),
        migrations.AddConstraint(
            model_name="retentionrule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("due_at__isnull", False), ("is_on", True)),
                    models.Q(("due_at__isnull", True), ("is_on", False)),
                    _connector="OR",
                ),
                name="retention_rule_due_iff_on",
            ),
        ),
        migrations.RunPython(lock, unlock),
        migrations.RunPython(give, migrations.RunPython.noop),
    ]
