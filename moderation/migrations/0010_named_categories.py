"""Index of the categories that decisions name."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


def fill(apps, schema_editor):
    decision, named = (
        apps.get_model("moderation", "Decision"),
        apps.get_model("moderation", "NamedCategory"),
    )
    rows = decision.objects.exclude(categories=[]).values_list("categories", "review__asset_id")
    for categories, asset_id in rows.iterator(chunk_size=500):
        found = [named(category=category, asset_id=asset_id) for category in categories]
        named.objects.bulk_create(found, ignore_conflicts=True)


class Migration(migrations.Migration):
    dependencies = [("generation", "0008_fold_words"), ("moderation", "0009_indexes")]

    operations = [
        migrations.CreateModel(
            name="NamedCategory",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "category",
                        "asset_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("category", models.CharField(max_length=60)),
                (
                    "asset",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="named_categories",
                        to="generation.asset",
                    ),
                ),
            ],
            options={"verbose_name_plural": "named categories"},
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
