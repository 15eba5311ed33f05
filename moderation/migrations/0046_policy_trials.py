import uuid

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("moderation", "0045_theme_follows_the_system"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="PolicyTrial",
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
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("running", "Running"),
                            ("finished", "Finished"),
                            ("cancelled", "Cancelled"),
                            ("failed", "Failed"),
                        ],
                        default="running",
                        max_length=9,
                    ),
                ),
                ("days", models.PositiveSmallIntegerField()),
                ("plan", models.JSONField(default=dict)),
                ("counts", models.JSONField(default=dict)),
                ("cursor", models.BigIntegerField(default=0)),
                ("sample", models.JSONField(default=dict)),
                ("result", models.JSONField(default=dict)),
                ("images", models.PositiveIntegerField(default=0, verbose_name="images so far")),
                (
                    "expected",
                    models.PositiveIntegerField(default=0, verbose_name="images expected"),
                ),
                ("error", models.TextField(blank=True)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "baseline",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="moderation.policy",
                    ),
                ),
                (
                    "candidate",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="trials",
                        to="moderation.policy",
                    ),
                ),
                (
                    "started_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="TrialJudgement",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("cell", models.CharField(max_length=30)),
                (
                    "answer",
                    models.CharField(
                        choices=[("right", "Right"), ("wrong", "Wrong"), ("unsure", "Unsure")],
                        max_length=6,
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
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
                    "review",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="moderation.review",
                    ),
                ),
                (
                    "trial",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="judgements",
                        to="moderation.policytrial",
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="policytrial",
            index=models.Index(
                condition=models.Q(("due_at__isnull", False)),
                fields=["due_at"],
                name="policy_trial_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="policytrial",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", ["running", "finished", "cancelled", "failed"])),
                name="policy_trial_status_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="trialjudgement",
            constraint=models.UniqueConstraint(
                fields=("trial", "review", "person"), name="trial_judgement_once_per_person"
            ),
        ),
        migrations.AddConstraint(
            model_name="trialjudgement",
            constraint=models.CheckConstraint(
                condition=models.Q(("answer__in", ["right", "wrong", "unsure"])),
                name="trial_judgement_answer_known",
            ),
        ),
    ]
