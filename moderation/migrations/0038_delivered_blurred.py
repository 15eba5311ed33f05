"""Approvals to be delivered blurred, and the confidence from which a policy makes them."""

from importlib import import_module

import django.core.validators
from django.db import migrations, models

append_only = import_module("moderation.migrations.0002_append_only")


class Migration(migrations.Migration):
    dependencies = [
        ("generation", "0018_originals"),
        ("moderation", "0037_reclassification_permissions"),
    ]

    operations = [
        # On SQLite, both changes copy the table and lose its triggers.
        migrations.RunPython(append_only.unlock, append_only.lock),
        migrations.AddField(
            model_name="decision",
            name="is_blurred",
            field=models.BooleanField(
                default=False,
                help_text="An approval to be delivered blurred.",
                verbose_name="delivered blurred",
            ),
        ),
        migrations.AddConstraint(
            model_name="decision",
            constraint=models.CheckConstraint(
                condition=models.Q(("is_blurred", False), ("verdict", "approve"), _connector="OR"),
                name="decision_blurred_is_an_approval",
            ),
        ),
        migrations.RunPython(append_only.lock, append_only.unlock),
        migrations.AddField(
            model_name="policyrule",
            name="blur_at",
            field=models.DecimalField(
                blank=True,
                decimal_places=2,
                help_text="From here to “reject at”, the image is approved but delivered blurred, if nothing else is in doubt. Not lower than “review at”. Empty: never.",
                max_digits=5,
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(100),
                ],
            ),
        ),
        migrations.AddField(
            model_name="review",
            name="is_blurred",
            field=models.BooleanField(
                default=False,
                editable=False,
                help_text="Programs get this approved image blurred.",
                verbose_name="delivered blurred",
            ),
        ),
        migrations.AlterField(
            model_name="policyrule",
            name="reject_at",
            field=models.DecimalField(
                blank=True,
                decimal_places=2,
                help_text="From here on, the image is rejected. The highest of the limits. Empty: never.",
                max_digits=5,
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(100),
                ],
            ),
        ),
        migrations.AlterField(
            model_name="policyrule",
            name="review_at",
            field=models.DecimalField(
                blank=True,
                decimal_places=2,
                help_text="From here to the next limit, a person decides. Empty: never.",
                max_digits=5,
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(100),
                ],
            ),
        ),
        migrations.AddIndex(
            model_name="review",
            index=models.Index(
                condition=models.Q(("is_blurred", True)), fields=["id"], name="review_blurred"
            ),
        ),
        migrations.AddConstraint(
            model_name="policyrule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("review_at__isnull", True),
                    ("blur_at__isnull", True),
                    ("blur_at__gte", models.F("review_at")),
                    _connector="OR",
                ),
                name="policy_rule_reviews_before_it_blurs",
                violation_error_message="“Blur at” must not be lower than “review at”. Raise it, or leave one of them empty.",
            ),
        ),
        migrations.AddConstraint(
            model_name="policyrule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("blur_at__isnull", True),
                    ("reject_at__isnull", True),
                    ("reject_at__gte", models.F("blur_at")),
                    _connector="OR",
                ),
                name="policy_rule_blurs_before_it_rejects",
                violation_error_message="“Reject at” must not be lower than “blur at”. Raise it, or leave one of them empty.",
            ),
        ),
        migrations.AddConstraint(
            model_name="review",
            constraint=models.CheckConstraint(
                condition=models.Q(("is_blurred", False), ("status", "approved"), _connector="OR"),
                name="review_blurred_is_approved",
            ),
        ),
    ]
