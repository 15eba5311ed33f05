"""Tombstones of removed images, and the end user of images and requests."""

from __future__ import annotations

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("generation", "0024_cache_table"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="asset",
            name="end_user",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Id of the end user for whom a program requested or sent the image.",
                max_length=200,
            ),
        ),
        migrations.AddField(
            model_name="asset",
            name="purge_reason",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                max_length=300,
                verbose_name="reason of the removal",
            ),
        ),
        migrations.AddField(
            model_name="asset",
            name="purged_at",
            field=models.DateTimeField(
                blank=True,
                help_text="When the files were removed for good.",
                null=True,
                verbose_name="removed at",
            ),
        ),
        migrations.AddField(
            model_name="asset",
            name="purged_parts",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Of a removed image: files, and texts and hashes if they were removed too.",
                max_length=30,
                verbose_name="removed parts",
            ),
        ),
        migrations.AddField(
            model_name="generationrequest",
            name="end_user",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Id of the end user for whom a program sent the request.",
                max_length=200,
            ),
        ),
        migrations.AlterField(
            model_name="asset",
            name="original_problem",
            field=models.CharField(
                blank=True,
                choices=[
                    ("not-kept", "The setting ORIGINALS keeps none"),
                    ("removed", "Removed by the setting ORIGINALS"),
                    ("purged", "Removed for good with all files of the image"),
                    ("structure", "The structure of the file is damaged or not fully understood"),
                    ("unknown-part", "The file has a part that Loupe does not know"),
                    ("colour", "Viewers can show the colours of the file in different ways"),
                    ("hidden-frames", "Transparent frames can hide a picture"),
                    ("too-many-frames", "The file has more frames than a person is shown"),
                    ("too-large", "The file is too large to show it whole to a person"),
                    ("pixels", "The pixels could not be compared"),
                ],
                help_text="Why the rendition is delivered instead of the original.",
                max_length=20,
            ),
        ),
        migrations.AddIndex(
            model_name="asset",
            index=models.Index(
                condition=models.Q(("end_user", ""), _negated=True),
                fields=["end_user", "-id"],
                name="asset_end_user",
            ),
        ),
        migrations.AddIndex(
            model_name="asset",
            index=models.Index(
                condition=models.Q(("purged_at__isnull", False)),
                fields=["purged_at"],
                name="asset_purged",
            ),
        ),
        migrations.AddIndex(
            model_name="asset",
            index=models.Index(
                condition=models.Q(
                    ("purged_at__isnull", False), models.Q(("thumbnail", ""), _negated=True)
                ),
                fields=["id"],
                name="asset_purge_unfinished",
            ),
        ),
        migrations.AddIndex(
            model_name="generationrequest",
            index=models.Index(
                condition=models.Q(("end_user", ""), _negated=True),
                fields=["end_user", "-id"],
                name="request_end_user",
            ),
        ),
    ]
