"""Per policy: trusted silences, accepted unchecked categories, full coverage, and a summary."""

import django.core.validators
from django.db import migrations, models

LOCAL = "local"
# Covered by the local detector at the time of this migration.
COVERED = {"explicit", "non-explicit", "swimwear-underwear"}


def keep_behaviour(apps, schema_editor):
    """Replace ``trusts_local_silence``, by which a silent local detector covered everything."""
    for policy in apps.get_model("moderation", "Policy").objects.filter(trusts_local_silence=True):
        watched = {category.partition(".")[0] for category in _list_categories(policy)}
        policy.trusted_silences = [LOCAL]
        policy.accepted_unchecked = sorted(watched - COVERED)
        policy.save(update_fields=["trusted_silences", "accepted_unchecked"])


def _list_categories(policy):
    return policy.rules.values_list("category", flat=True)


def restore(apps, schema_editor):
    for policy in apps.get_model("moderation", "Policy").objects.all():
        policy.trusts_local_silence = LOCAL in policy.trusted_silences
        policy.save(update_fields=["trusts_local_silence"])


class Migration(migrations.Migration):
    dependencies = [
        ("moderation", "0032_embeddings"),
    ]

    operations = [
        migrations.AddField(
            model_name="policy",
            name="accepted_unchecked",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text="L1 categories that need no check: the policy approves an image although no classifier looked for them. The reason of each approval names them. If classifiers are chosen above, this counts only for images that one of them judged.",
                verbose_name="approves although nothing checked",
            ),
        ),
        migrations.AddField(
            model_name="policy",
            name="requires_full_coverage",
            field=models.BooleanField(
                default=False,
                help_text="On: “nothing found” counts only for categories that the classifier covers fully. Off: partial and heuristic coverage count too.",
            ),
        ),
        migrations.AddField(
            model_name="policy",
            name="summary",
            field=models.TextField(
                blank=True,
                help_text="What this policy settles by itself, and what it leaves to people. Shown on Today while it is in force. Removed when the rules are changed without a new text.",
            ),
        ),
        migrations.AddField(
            model_name="policy",
            name="trusted_silences",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text="Slugs of classifiers whose “nothing found” counts for what they cover.",
                verbose_name="counts “nothing found” of",
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
                help_text="Categories that count as NSFW for /api/nsfw/image, and by which a score without a category (Novita's) is read. A score at a higher level is read at this level too: it rejects only with a named category of this level, and not if a classifier names a category above this level, which may be all that the score means.",
                verbose_name="NSFW level",
            ),
        ),
        migrations.AlterField(
            model_name="policy",
            name="nsfw_reject_at",
            field=models.DecimalField(
                blank=True,
                decimal_places=2,
                help_text="From this score on the policy rejects the image, if a classifier names a category of the NSFW level (or of the score's level, if that is lower) and the score reaches “reject at” of every such category. A score alone goes to a person. Empty: a score never rejects.",
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
                help_text="From this score without a category on, the image goes to a person, unless a classifier explains the score: it names a category of the score's level at this confidence or more, and its “nothing found” counts for the other categories of that level. Then the rules of the named categories decide.",
                max_digits=5,
                validators=[
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(100),
                ],
                verbose_name="score: review at",
            ),
        ),
        migrations.RunPython(keep_behaviour, restore),
    ]
