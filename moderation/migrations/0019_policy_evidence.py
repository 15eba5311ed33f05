"""Store the found categories, missing confidences, and the policy in force."""

from importlib import import_module

import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

append_only = import_module("moderation.migrations.0002_append_only")


class Migration(migrations.Migration):
    dependencies = [
        ("generation", "0008_fold_words"),
        ("moderation", "0018_exposure_in_steps"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="label",
            name="label_confidence_is_percent",
        ),
        # On SQLite, removing the column copies the table and loses its triggers.
        migrations.RunPython(append_only.unlock, append_only.lock),
        migrations.AddField(
            model_name="decision",
            name="policy_in_force",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="decisions_in_force",
                to="moderation.policy",
            ),
        ),
        migrations.RunPython(append_only.lock, append_only.unlock),
        migrations.AddField(
            model_name="policy",
            name="approves_imports",
            field=models.BooleanField(
                default=False,
                help_text="Whether that holds for files that somebody imported, too. Off: people see every imported file.",
                verbose_name="may approve imported files",
            ),
        ),
        migrations.AddField(
            model_name="review",
            name="found",
            field=models.PositiveSmallIntegerField(default=0, editable=False),
        ),
        migrations.AlterField(
            model_name="label",
            name="confidence",
            field=models.DecimalField(
                blank=True,
                decimal_places=2,
                max_digits=5,
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(100),
                ],
            ),
        ),
        migrations.AlterField(
            model_name="policy",
            name="activated_at",
            field=models.DateTimeField(
                blank=True, editable=False, null=True, verbose_name="first put into force"
            ),
        ),
        migrations.AlterField(
            model_name="policy",
            name="note",
            field=models.TextField(
                blank=True,
                help_text="What changed, and why, for those who read this version later. Shown on this page only.",
            ),
        ),
        migrations.AlterField(
            model_name="policy",
            name="nsfw_level",
            field=models.PositiveSmallIntegerField(
                choices=[
                    (0, "0 – explicit content and hate symbols"),
                    (1, "1 – also non-explicit nudity and kissing"),
                    (2, "2 – also swimwear and underwear"),
                ],
                default=0,
                help_text="What counts as NSFW for /api/nsfw/image, and up to which detection level a score without a category (Novita's) may reject. A score that was asked at a higher level may stand for what this policy does not reject, so it sends to a person and never rejects.",
                verbose_name="NSFW level",
            ),
        ),
        migrations.AlterField(
            model_name="policy",
            name="nsfw_reject_at",
            field=models.DecimalField(
                blank=True,
                decimal_places=2,
                help_text="From this score on the policy rejects, when a classifier names a category that the score may stand for and every such category may be rejected. A score alone goes to a person. Empty: never by itself.",
                max_digits=5,
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(100),
                ],
                verbose_name="score: reject at",
            ),
        ),
        migrations.AddConstraint(
            model_name="label",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("confidence__isnull", True),
                    models.Q(("confidence__gte", 0), ("confidence__lte", 100)),
                    _connector="OR",
                ),
                name="label_confidence_is_percent",
            ),
        ),
        migrations.AlterConstraint(
            model_name="policy",
            name="policy_one_active",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_active", True)),
                fields=("is_active",),
                name="policy_one_active",
                violation_error_message="Another policy is in force. Only one can be: use the action “Put into force”.",
            ),
        ),
        migrations.AlterConstraint(
            model_name="policy",
            name="policy_reviews_before_it_rejects",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("nsfw_reject_at__isnull", True),
                    ("nsfw_reject_at__gte", models.F("nsfw_review_at")),
                    _connector="OR",
                ),
                name="policy_reviews_before_it_rejects",
                violation_error_message="A score must send to a person before it rejects: make “score: reject at” at least as high as “score: review at”, or leave it empty.",
            ),
        ),
        migrations.AlterConstraint(
            model_name="policyrule",
            name="policy_rule_once_per_category",
            constraint=models.UniqueConstraint(
                fields=("policy", "category"),
                name="policy_rule_once_per_category",
                violation_error_message="This policy has a rule for that category already. Change that one.",
            ),
        ),
        migrations.AlterConstraint(
            model_name="policyrule",
            name="policy_rule_reviews_before_it_rejects",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("review_at__isnull", True),
                    ("reject_at__isnull", True),
                    ("reject_at__gte", models.F("review_at")),
                    _connector="OR",
                ),
                name="policy_rule_reviews_before_it_rejects",
                violation_error_message="A category must send to a person before it is rejected: make “reject at” at least as high as “review at”, or leave one of them empty.",
            ),
        ),
        migrations.AlterConstraint(
            model_name="savedqueue",
            name="saved_queue_name_once_per_owner",
            constraint=models.UniqueConstraint(
                fields=("owner", "name"),
                name="saved_queue_name_once_per_owner",
                violation_error_message="This person has a saved queue of that name already. Choose another name.",
            ),
        ),
    ]
