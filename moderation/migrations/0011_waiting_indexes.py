"""Partial indexes on undecided reviews for the queues, and on decided ones.

Also indexes on columns that no decision changes.
"""

from __future__ import annotations

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import Q
from django.db.models.functions import Lower

DEALT_BY = {
    "queue": ["-priority", "id", "headline_l1", "created_at", "claimed_until"],
    "oldest": ["id", "headline_l1", "source", "provider"],
    "category": ["headline_l1", "-priority", "id", "source", "provider"],
    "source": ["source", "-priority", "id", "headline_l1", "provider"],
    "provider": ["provider", "-priority", "id", "headline_l1", "source"],
}
SEARCHED_BY = ("headline_l1", "source", "provider")


def review_index(name, fields, **options):
    index = models.Index(fields=fields, name=name, **options)
    return migrations.AddIndex(model_name="review", index=index)


def without_index(model, name, index, column, **field):
    """Drop a foreign key's own index by its name.

    Altering the field would make SQLite copy the table, which loses its triggers.
    """
    table = f"moderation_{model}"
    return migrations.SeparateDatabaseAndState(
        database_operations=[
            migrations.RunSQL(
                f'DROP INDEX "{index}"', f'CREATE INDEX "{index}" ON "{table}" ("{column}")'
            )
        ],
        state_operations=[
            migrations.AlterField(
                model_name=model,
                name=name,
                field=models.ForeignKey(
                    blank=True, null=True, db_index=False, to=settings.AUTH_USER_MODEL, **field
                ),
            )
        ],
    )


class Migration(migrations.Migration):
    dependencies = [
        ("generation", "0008_fold_words"),
        ("moderation", "0010_named_categories"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        # Each one is a prefix of another index.
        without_index(
            "decision",
            "reviewer",
            "moderation_decision_reviewer_id_f8ce824e",
            "reviewer_id",
            on_delete=django.db.models.deletion.PROTECT,
            related_name="decisions",
        ),
        without_index(
            "review",
            "claimed_by",
            "moderation_review_claimed_by_id_a481cbe1",
            "claimed_by_id",
            on_delete=django.db.models.deletion.SET_NULL,
            related_name="claimed_reviews",
        ),
        # Descending: appending at the end of an index costs SQLite less than inserting at its
        # start.
        migrations.RemoveIndex(model_name="decision", name="decision_newest"),
        migrations.AddIndex(
            model_name="decision",
            index=models.Index(fields=["created_at", "sequence"], name="decision_newest"),
        ),
        *(
            migrations.RemoveIndex(model_name="review", name=f"review_{name}")
            for name in [*DEALT_BY, "claims", "decided"]
        ),
        *(
            review_index(
                f"review_{name}",
                ["status", *fields, "decided_at"],
                condition=Q(decided_at__isnull=True),
            )
            for name, fields in DEALT_BY.items()
        ),
        review_index(
            "review_decided", ["status", "decided_at"], condition=Q(decided_at__isnull=False)
        ),
        review_index(
            "review_claims", ["claimed_by", "claimed_until"], condition=Q(claimed_by__isnull=False)
        ),
        *(
            migrations.AddIndex(
                model_name="review",
                index=models.Index(Lower(column), name=f"review_{column}_lower"),
            )
            for column in SEARCHED_BY
        ),
    ]
