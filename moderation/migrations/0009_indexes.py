"""Indexes for a million reviews: for pairs of filters, and for the record by name and verdict."""

from __future__ import annotations

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("generation", "0007_fill_lookup"),
        ("moderation", "0008_care"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="review",
            name="review_queue",
        ),
        migrations.RemoveIndex(
            model_name="review",
            name="review_oldest",
        ),
        migrations.RemoveIndex(
            model_name="review",
            name="review_category",
        ),
        migrations.RemoveIndex(
            model_name="review",
            name="review_source",
        ),
        migrations.RemoveIndex(
            model_name="review",
            name="review_provider",
        ),
        migrations.AddIndex(
            model_name="decision",
            index=models.Index(fields=["reviewer_name", "-sequence"], name="decision_by_name"),
        ),
        migrations.AddIndex(
            model_name="decision",
            index=models.Index(fields=["verdict", "-sequence"], name="decision_verdict"),
        ),
        migrations.AddIndex(
            model_name="review",
            index=models.Index(
                fields=["status", "-priority", "id", "headline_l1", "created_at"],
                name="review_queue",
            ),
        ),
        migrations.AddIndex(
            model_name="review",
            index=models.Index(
                fields=["status", "id", "headline_l1", "source", "provider"], name="review_oldest"
            ),
        ),
        migrations.AddIndex(
            model_name="review",
            index=models.Index(
                fields=["status", "headline_l1", "-priority", "id", "source", "provider"],
                name="review_category",
            ),
        ),
        migrations.AddIndex(
            model_name="review",
            index=models.Index(
                fields=["status", "source", "-priority", "id", "headline_l1", "provider"],
                name="review_source",
            ),
        ),
        migrations.AddIndex(
            model_name="review",
            index=models.Index(
                fields=["status", "provider", "-priority", "id", "headline_l1", "source"],
                name="review_provider",
            ),
        ),
    ]
