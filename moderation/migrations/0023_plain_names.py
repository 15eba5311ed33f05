"""Rename fields and models to the words of the glossary. No row is rewritten."""

from django.db import migrations, models

import moderation.models.found_categories

COLUMNS = {
    "review": {
        "priority": "risk",
        "headline": "top_category",
        "headline_l1": "top_category_l1",
        "headline_confidence": "top_confidence",
        "why": "reason",
        "look": "near_duplicate_group",
        "said": "classification_summary",
    },
    "preferences": {"veils": "covers"},
}


def rename_columns():
    """Rename fields in the state, and columns by a statement that both databases support.

    Django's RenameField makes SQLite copy the whole table for a column with a CHECK, and does not
    rename the fields of indexes. The statement also renames the column in checks and indexes.
    """
    for model, names in COLUMNS.items():
        table = f"moderation_{model}"
        for old, new in names.items():
            yield migrations.SeparateDatabaseAndState(
                database_operations=[
                    migrations.RunSQL(
                        f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}",
                        f"ALTER TABLE {table} RENAME COLUMN {new} TO {old}",
                    )
                ],
                state_operations=[migrations.RenameField(model, old, new)],
            )


# Indexes in the database follow their columns; only the migration state needs the change.
INDEXES = [
    migrations.RemoveIndex(
        model_name="review",
        name="review_look",
    ),
    migrations.RemoveIndex(
        model_name="review",
        name="review_second_risk",
    ),
    migrations.RemoveIndex(
        model_name="review",
        name="review_queue",
    ),
    migrations.RemoveIndex(
        model_name="review",
        name="review_source",
    ),
    migrations.RemoveIndex(
        model_name="review",
        name="review_provider",
    ),
    migrations.RemoveIndex(
        model_name="review",
        name="review_oldest",
    ),
    migrations.RemoveIndex(
        model_name="review",
        name="review_found_0",
    ),
    migrations.RemoveIndex(
        model_name="review",
        name="review_found_1",
    ),
    migrations.RemoveIndex(
        model_name="review",
        name="review_found_2",
    ),
    migrations.RemoveIndex(
        model_name="review",
        name="review_found_4",
    ),
    migrations.RemoveIndex(
        model_name="review",
        name="review_found_8",
    ),
    migrations.RemoveIndex(
        model_name="review",
        name="review_found_16",
    ),
    migrations.RemoveIndex(
        model_name="review",
        name="review_found_32",
    ),
    migrations.RemoveIndex(
        model_name="review",
        name="review_found_64",
    ),
    migrations.RemoveIndex(
        model_name="review",
        name="review_found_128",
    ),
    migrations.RemoveIndex(
        model_name="review",
        name="review_found_256",
    ),
    migrations.RemoveIndex(
        model_name="review",
        name="review_found_512",
    ),
    migrations.AddIndex(
        model_name="review",
        index=models.Index(
            condition=models.Q(("decided_at__isnull", True)),
            fields=[
                "status",
                "-risk",
                "id",
                "top_category_l1",
                "created_at",
                "claimed_until",
                "requested_by",
                "decided_at",
            ],
            name="review_queue",
        ),
    ),
    migrations.AddIndex(
        model_name="review",
        index=models.Index(
            condition=models.Q(("decided_at__isnull", True)),
            fields=[
                "status",
                "id",
                "top_category_l1",
                "found",
                "source",
                "provider",
                "requested_by",
                "decided_at",
            ],
            name="review_oldest",
        ),
    ),
    migrations.AddIndex(
        model_name="review",
        index=models.Index(
            condition=models.Q(("decided_at__isnull", True)),
            fields=[
                "status",
                "source",
                "-risk",
                "id",
                "top_category_l1",
                "provider",
                "requested_by",
                "decided_at",
            ],
            name="review_source",
        ),
    ),
    migrations.AddIndex(
        model_name="review",
        index=models.Index(
            condition=models.Q(("decided_at__isnull", True)),
            fields=[
                "status",
                "provider",
                "-risk",
                "id",
                "top_category_l1",
                "source",
                "requested_by",
                "decided_at",
            ],
            name="review_provider",
        ),
    ),
    migrations.AddIndex(
        model_name="review",
        index=models.Index(
            condition=models.Q(
                ("decided_at__isnull", True), moderation.models.found_categories.HasFoundNothing()
            ),
            fields=[
                "decided_at",
                "status",
                "-risk",
                "id",
                "source",
                "provider",
                "created_at",
                "found",
                "requested_by",
            ],
            name="review_found_0",
        ),
    ),
    migrations.AddIndex(
        model_name="review",
        index=models.Index(
            condition=models.Q(
                ("decided_at__isnull", True), moderation.models.found_categories.HasFound(1)
            ),
            fields=[
                "decided_at",
                "status",
                "-risk",
                "id",
                "source",
                "provider",
                "created_at",
                "found",
                "requested_by",
            ],
            name="review_found_1",
        ),
    ),
    migrations.AddIndex(
        model_name="review",
        index=models.Index(
            condition=models.Q(
                ("decided_at__isnull", True), moderation.models.found_categories.HasFound(2)
            ),
            fields=[
                "decided_at",
                "status",
                "-risk",
                "id",
                "source",
                "provider",
                "created_at",
                "found",
                "requested_by",
            ],
            name="review_found_2",
        ),
    ),
    migrations.AddIndex(
        model_name="review",
        index=models.Index(
            condition=models.Q(
                ("decided_at__isnull", True), moderation.models.found_categories.HasFound(4)
            ),
            fields=[
                "decided_at",
                "status",
                "-risk",
                "id",
                "source",
                "provider",
                "created_at",
                "found",
                "requested_by",
            ],
            name="review_found_4",
        ),
    ),
    migrations.AddIndex(
        model_name="review",
        index=models.Index(
            condition=models.Q(
                ("decided_at__isnull", True), moderation.models.found_categories.HasFound(8)
            ),
            fields=[
                "decided_at",
                "status",
                "-risk",
                "id",
                "source",
                "provider",
                "created_at",
                "found",
                "requested_by",
            ],
            name="review_found_8",
        ),
    ),
    migrations.AddIndex(
        model_name="review",
        index=models.Index(
            condition=models.Q(
                ("decided_at__isnull", True), moderation.models.found_categories.HasFound(16)
            ),
            fields=[
                "decided_at",
                "status",
                "-risk",
                "id",
                "source",
                "provider",
                "created_at",
                "found",
                "requested_by",
            ],
            name="review_found_16",
        ),
    ),
    migrations.AddIndex(
        model_name="review",
        index=models.Index(
            condition=models.Q(
                ("decided_at__isnull", True), moderation.models.found_categories.HasFound(32)
            ),
            fields=[
                "decided_at",
                "status",
                "-risk",
                "id",
                "source",
                "provider",
                "created_at",
                "found",
                "requested_by",
            ],
            name="review_found_32",
        ),
    ),
    migrations.AddIndex(
        model_name="review",
        index=models.Index(
            condition=models.Q(
                ("decided_at__isnull", True), moderation.models.found_categories.HasFound(64)
            ),
            fields=[
                "decided_at",
                "status",
                "-risk",
                "id",
                "source",
                "provider",
                "created_at",
                "found",
                "requested_by",
            ],
            name="review_found_64",
        ),
    ),
    migrations.AddIndex(
        model_name="review",
        index=models.Index(
            condition=models.Q(
                ("decided_at__isnull", True), moderation.models.found_categories.HasFound(128)
            ),
            fields=[
                "decided_at",
                "status",
                "-risk",
                "id",
                "source",
                "provider",
                "created_at",
                "found",
                "requested_by",
            ],
            name="review_found_128",
        ),
    ),
    migrations.AddIndex(
        model_name="review",
        index=models.Index(
            condition=models.Q(
                ("decided_at__isnull", True), moderation.models.found_categories.HasFound(256)
            ),
            fields=[
                "decided_at",
                "status",
                "-risk",
                "id",
                "source",
                "provider",
                "created_at",
                "found",
                "requested_by",
            ],
            name="review_found_256",
        ),
    ),
    migrations.AddIndex(
        model_name="review",
        index=models.Index(
            condition=models.Q(
                ("decided_at__isnull", True), moderation.models.found_categories.HasFound(512)
            ),
            fields=[
                "decided_at",
                "status",
                "-risk",
                "id",
                "source",
                "provider",
                "created_at",
                "found",
                "requested_by",
            ],
            name="review_found_512",
        ),
    ),
    migrations.AddIndex(
        model_name="review",
        index=models.Index(
            condition=models.Q(("second_opinion", ""), _negated=True),
            fields=["second_opinion", "-risk", "id"],
            name="review_second_risk",
        ),
    ),
    migrations.AddIndex(
        model_name="review",
        index=models.Index(
            condition=models.Q(("near_duplicate_group__isnull", False)),
            fields=["near_duplicate_group"],
            name="review_look",
        ),
    ),
]


class Migration(migrations.Migration):
    dependencies = [("moderation", "0022_chores"), ("generation", "0015_job_slots")]

    operations = [
        *rename_columns(),
        migrations.SeparateDatabaseAndState(state_operations=INDEXES),
        migrations.RenameModel("DayFigures", "DailyStats"),
        migrations.RenameModel("WordTally", "WordStats"),
        migrations.RenameModel("TallyProgress", "WordStatsProgress"),
        migrations.AlterModelOptions(
            "dailystats",
            {"verbose_name": "daily stats", "verbose_name_plural": "daily stats"},
        ),
        migrations.AlterModelOptions(
            "wordstats", {"verbose_name": "word stats", "verbose_name_plural": "word stats"}
        ),
        migrations.AlterModelOptions(
            "wordstatsprogress",
            {
                "verbose_name": "word stats progress",
                "verbose_name_plural": "progress of word stats",
            },
        ),
    ]
