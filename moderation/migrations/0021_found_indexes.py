"""Queues and searches go by all that was found, not by the headline."""

from django.db import migrations, models

import moderation.models.found_categories


class Migration(migrations.Migration):
    dependencies = [("moderation", "0020_fill_policy_evidence")]

    operations = [
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
            name="review_headline_l1_lower",
        ),
        migrations.AddIndex(
            model_name="review",
            index=models.Index(
                condition=models.Q(("decided_at__isnull", True)),
                fields=["status", "id", "headline_l1", "found", "source", "provider", "requested_by", "decided_at"],
                name="review_oldest",
            ),
        ),
        migrations.AddIndex(
            model_name="review",
            index=models.Index(
                condition=models.Q(("decided_at__isnull", True), moderation.models.found_categories.HasFoundNothing()),
                fields=[
                    "decided_at",
                    "status",
                    "-priority",
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
                condition=models.Q(("decided_at__isnull", True), moderation.models.found_categories.HasFound(1)),
                fields=[
                    "decided_at",
                    "status",
                    "-priority",
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
                condition=models.Q(("decided_at__isnull", True), moderation.models.found_categories.HasFound(2)),
                fields=[
                    "decided_at",
                    "status",
                    "-priority",
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
                condition=models.Q(("decided_at__isnull", True), moderation.models.found_categories.HasFound(4)),
                fields=[
                    "decided_at",
                    "status",
                    "-priority",
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
                condition=models.Q(("decided_at__isnull", True), moderation.models.found_categories.HasFound(8)),
                fields=[
                    "decided_at",
                    "status",
                    "-priority",
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
                condition=models.Q(("decided_at__isnull", True), moderation.models.found_categories.HasFound(16)),
                fields=[
                    "decided_at",
                    "status",
                    "-priority",
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
                condition=models.Q(("decided_at__isnull", True), moderation.models.found_categories.HasFound(32)),
                fields=[
                    "decided_at",
                    "status",
                    "-priority",
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
                condition=models.Q(("decided_at__isnull", True), moderation.models.found_categories.HasFound(64)),
                fields=[
                    "decided_at",
                    "status",
                    "-priority",
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
                condition=models.Q(("decided_at__isnull", True), moderation.models.found_categories.HasFound(128)),
                fields=[
                    "decided_at",
                    "status",
                    "-priority",
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
                condition=models.Q(("decided_at__isnull", True), moderation.models.found_categories.HasFound(256)),
                fields=[
                    "decided_at",
                    "status",
                    "-priority",
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
                condition=models.Q(("decided_at__isnull", True), moderation.models.found_categories.HasFound(512)),
                fields=[
                    "decided_at",
                    "status",
                    "-priority",
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
    ]
