"""Add counts over time, and give the roles that read them their permission."""

from django.apps import apps as live_apps
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
        models=["periodcount"],
    )


class Migration(migrations.Migration):
    dependencies = [
        ("moderation", "0056_own_keys"),
    ]

    operations = [
        migrations.CreateModel(
            name="CountProgress",
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
                    "stream",
                    models.CharField(
                        choices=[
                            ("arrivals", "Images that arrived"),
                            ("decisions", "The record"),
                            ("calls", "Calls of services"),
                            ("queue", "Samples of the queue"),
                        ],
                        max_length=9,
                        unique=True,
                    ),
                ),
                ("position", models.BigIntegerField(default=0)),
                ("began_at", models.DateTimeField(blank=True, null=True)),
                ("counted_until", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "verbose_name_plural": "count progress",
                "indexes": [
                    models.Index(
                        condition=models.Q(("due_at__isnull", False)),
                        fields=["due_at"],
                        name="count_progress_due",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="PeriodCount",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "step",
                    models.CharField(choices=[("hour", "Hour"), ("day", "Day")], max_length=4),
                ),
                ("start", models.DateTimeField()),
                (
                    "measure",
                    models.CharField(
                        choices=[
                            ("arrivals", "Images that arrived, by source"),
                            ("decisions", "Decisions, by author and verdict"),
                            ("reversals", "Decisions reversed by another person, by their author"),
                            ("opinions", "Second opinions on people's decisions, by both verdicts"),
                            (
                                "audits",
                                "Second opinions on the policy's decisions, by both verdicts",
                            ),
                            ("queue", "Samples of waiting images, by status"),
                            ("age", "Samples of the oldest waiting image's age in minutes"),
                            ("calls", "Calls, by service, kind and outcome; total in seconds"),
                            (
                                "latency",
                                "Calls that were answered, by service and upper bound in seconds",
                            ),
                            ("spend", "Cost in USD, by service"),
                        ],
                        max_length=9,
                    ),
                ),
                ("part", models.CharField(blank=True, max_length=80)),
                ("count", models.BigIntegerField(default=0)),
                (
                    "total",
                    models.FloatField(
                        default=0.0, help_text="Sum of the values, in the measure's unit."
                    ),
                ),
                ("peak", models.FloatField(default=0.0, help_text="Highest value.")),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("step", "start", "measure", "part"), name="period_count_once"
                    )
                ],
            },
        ),
        migrations.RunPython(give, migrations.RunPython.noop),
    ]
