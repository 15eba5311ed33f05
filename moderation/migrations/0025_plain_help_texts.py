"""Plain help texts and labels; no column changes."""

import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("moderation", "0024_preference_choices"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterField(
            model_name="chore",
            name="deleted",
            field=models.BigIntegerField(default=0, help_text="Rows or files deleted so far."),
        ),
        migrations.AlterField(
            model_name="classification",
            name="covers",
            field=models.JSONField(
                default=dict, help_text="L1 categories that it covers, and how completely."
            ),
        ),
        migrations.AlterField(
            model_name="classification",
            name="flagged",
            field=models.BooleanField(
                help_text="Verdict of the classifier, if it gives one.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="dailystats",
            name="by_people",
            field=models.IntegerField(default=0, verbose_name="decided by people"),
        ),
        migrations.AlterField(
            model_name="dailystats",
            name="by_policy",
            field=models.IntegerField(default=0, verbose_name="decided by the policy"),
        ),
        migrations.AlterField(
            model_name="dailystats",
            name="people_reversed",
            field=models.IntegerField(
                default=0, verbose_name="people's decisions reversed by others"
            ),
        ),
        migrations.AlterField(
            model_name="dailystats",
            name="policy_reversed",
            field=models.IntegerField(default=0, verbose_name="policy decisions reversed"),
        ),
        migrations.AlterField(
            model_name="decision",
            name="batch",
            field=models.UUIDField(
                blank=True, help_text="Shared by all decisions of one batch.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="decision",
            name="by_policy",
            field=models.BooleanField(
                default=False,
                help_text="Decided by the policy without a person.",
                verbose_name="automatic decision",
            ),
        ),
        migrations.AlterField(
            model_name="decision",
            name="categories",
            field=models.JSONField(
                default=list, help_text="Slugs of the taxonomy, L2 if there is one."
            ),
        ),
        migrations.AlterField(
            model_name="decision",
            name="second_of",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                help_text="First decision, if this one is a second opinion.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="second_opinions",
                to="moderation.decision",
            ),
        ),
        migrations.AlterField(
            model_name="decision",
            name="seconds",
            field=models.DecimalField(
                blank=True,
                decimal_places=1,
                help_text="Seconds on the reviewer's screen, if known.",
                max_digits=8,
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="delivery",
            name="status",
            field=models.CharField(
                choices=[("waiting", "Waiting"), ("delivered", "Delivered"), ("failed", "Failed")],
                default="waiting",
                max_length=9,
            ),
        ),
        migrations.AlterField(
            model_name="policy",
            name="approves_imports",
            field=models.BooleanField(
                default=False,
                help_text="The policy may also approve imported files. Off: every imported file goes to a person.",
                verbose_name="may approve imported files",
            ),
        ),
        migrations.AlterField(
            model_name="policy",
            name="may_approve",
            field=models.BooleanField(
                default=True,
                help_text="The policy may approve images in which no classifier found anything. Off: all images go to people.",
            ),
        ),
        migrations.AlterField(
            model_name="policy",
            name="note",
            field=models.TextField(
                blank=True,
                help_text="What changed in this version, and why. Shown only on this page.",
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
                help_text="Categories that count as NSFW for /api/nsfw/image, and the highest detection level at which a score without a category (Novita's) may reject. A score at a higher level may stand for categories that this policy does not reject, so it only sends the image to a person.",
                verbose_name="NSFW level",
            ),
        ),
        migrations.AlterField(
            model_name="policy",
            name="nsfw_reject_at",
            field=models.DecimalField(
                blank=True,
                decimal_places=2,
                help_text="From this score on the policy rejects the image, if a classifier names a category that the score may stand for, and the policy may reject every such category. A score alone goes to a person. Empty: a score never rejects.",
                max_digits=5,
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(100),
                ],
                verbose_name="score: reject at",
            ),
        ),
        migrations.AlterField(
            model_name="policy",
            name="nsfw_review_at",
            field=models.DecimalField(
                decimal_places=2,
                default=20,
                help_text="From this score without a category on, the image goes to a person.",
                max_digits=5,
                validators=[
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(100),
                ],
                verbose_name="score: review at",
            ),
        ),
        migrations.AlterField(
            model_name="policy",
            name="trusts_local_silence",
            field=models.BooleanField(
                default=False,
                help_text="The local detector detects only nudity in photographs, and misses much. On: its “nothing found” counts towards an approval.",
                verbose_name="counts a clean scan of the local detector",
            ),
        ),
        migrations.AlterField(
            model_name="preferences",
            name="blur",
            field=models.BooleanField(
                default=True,
                help_text="The image is not sent to your browser until you reveal it.",
                verbose_name="blurred until revealed",
            ),
        ),
        migrations.AlterField(
            model_name="preferences",
            name="break_after",
            field=models.PositiveSmallIntegerField(
                choices=[(0, "Never"), (50, "50"), (100, "100"), (200, "200"), (400, "400")],
                default=200,
                help_text="Images in one hour. You can ignore the suggestion, and only you see it.",
                verbose_name="suggest a break after",
            ),
        ),
        migrations.AlterField(
            model_name="preferences",
            name="hotkeys",
            field=models.BooleanField(
                default=True,
                help_text="Turn them off if they interfere with speech control or other tools.",
                verbose_name="single-letter keys",
            ),
        ),
        migrations.AlterField(
            model_name="preferences",
            name="surround",
            field=models.CharField(
                choices=[("dark", "Dark"), ("mid", "Mid grey"), ("light", "Light")],
                default="dark",
                help_text="Press G at the desk to change it.",
                max_length=5,
                verbose_name="surround of the image",
            ),
        ),
        migrations.AlterField(
            model_name="review",
            name="decided_by",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                help_text="Person whose decision is in effect. Empty for the policy.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="decided_reviews",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AlterField(
            model_name="review",
            name="reason",
            field=models.TextField(
                blank=True, help_text="Sentence that names the policy rule that routed the image."
            ),
        ),
        migrations.AlterField(
            model_name="savedqueue",
            name="base",
            field=models.CharField(help_text="Queue that the filters belong to.", max_length=30),
        ),
        migrations.AlterField(
            model_name="savedqueue",
            name="query",
            field=models.CharField(
                help_text="Filters, as in a URL: category=alcohol&source=upload.", max_length=500
            ),
        ),
        migrations.AlterField(
            model_name="verification",
            name="decisions",
            field=models.BigIntegerField(
                help_text="Number of decisions read, which is all of them."
            ),
        ),
        migrations.AlterField(
            model_name="verification",
            name="faults",
            field=models.PositiveIntegerField(
                default=0, help_text="Number of places where the record was altered."
            ),
        ),
        migrations.AlterField(
            model_name="verification",
            name="head",
            field=models.CharField(
                blank=True, help_text="Last hash of the record at that time.", max_length=64
            ),
        ),
        migrations.AlterConstraint(
            model_name="policy",
            name="policy_one_active",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_active", True)),
                fields=("is_active",),
                name="policy_one_active",
                violation_error_message="Another policy is in force. Use the action “Put into force” to replace it.",
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
                violation_error_message="“Score: reject at” must not be lower than “score: review at”. Raise it, or leave it empty.",
            ),
        ),
        migrations.AlterConstraint(
            model_name="policyrule",
            name="policy_rule_once_per_category",
            constraint=models.UniqueConstraint(
                fields=("policy", "category"),
                name="policy_rule_once_per_category",
                violation_error_message="This policy already has a rule for that category. Change that rule.",
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
                violation_error_message="“Reject at” must not be lower than “review at”. Raise it, or leave one of them empty.",
            ),
        ),
        migrations.AlterConstraint(
            model_name="savedqueue",
            name="saved_queue_name_once_per_owner",
            constraint=models.UniqueConstraint(
                fields=("owner", "name"),
                name="saved_queue_name_once_per_owner",
                violation_error_message="This person already has a saved queue with that name. Choose another name.",
            ),
        ),
    ]
