"""Give fields and lists names that read well in the admin site; no change of the database."""

import uuid

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("generation", "0021_service_calls"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="imagesofday",
            options={
                "verbose_name": "image count of a day",
                "verbose_name_plural": "image counts by day",
            },
        ),
        migrations.AlterField(
            model_name="apicall",
            name="duration_ms",
            field=models.PositiveIntegerField(default=0, verbose_name="duration (ms)"),
        ),
        migrations.AlterField(
            model_name="apikey",
            name="uuid",
            field=models.UUIDField(
                default=uuid.uuid4, editable=False, unique=True, verbose_name="UUID"
            ),
        ),
        migrations.AlterField(
            model_name="asset",
            name="api_key",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="assets",
                to="generation.apikey",
                verbose_name="API key",
            ),
        ),
        migrations.AlterField(
            model_name="asset",
            name="differs",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text="How the original can look different: alpha, animation, colour, depth.",
                verbose_name="differences of the original",
            ),
        ),
        migrations.AlterField(
            model_name="asset",
            name="external_id",
            field=models.CharField(
                blank=True,
                help_text="Id of this image at its source.",
                max_length=200,
                verbose_name="external ID",
            ),
        ),
        migrations.AlterField(
            model_name="asset",
            name="original_type",
            field=models.CharField(blank=True, max_length=4, verbose_name="type of the original"),
        ),
        migrations.AlterField(
            model_name="asset",
            name="pdq_quality",
            field=models.PositiveSmallIntegerField(default=0, verbose_name="PDQ quality"),
        ),
        migrations.AlterField(
            model_name="asset",
            name="provider_url",
            field=models.TextField(
                blank=True, help_text="Without its signature.", verbose_name="URL at the provider"
            ),
        ),
        migrations.AlterField(
            model_name="asset",
            name="sha256",
            field=models.CharField(db_index=True, max_length=64, verbose_name="SHA-256"),
        ),
        migrations.AlterField(
            model_name="asset",
            name="source_bytes",
            field=models.PositiveIntegerField(verbose_name="bytes of the received file"),
        ),
        migrations.AlterField(
            model_name="asset",
            name="source_sha256",
            field=models.CharField(max_length=64, verbose_name="SHA-256 of the received file"),
        ),
        migrations.AlterField(
            model_name="asset",
            name="source_type",
            field=models.CharField(max_length=10, verbose_name="type of the received file"),
        ),
        migrations.AlterField(
            model_name="asset",
            name="url_expires_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="URL expires at"),
        ),
        migrations.AlterField(
            model_name="asset",
            name="uuid",
            field=models.UUIDField(
                default=uuid.uuid4, editable=False, unique=True, verbose_name="UUID"
            ),
        ),
        migrations.AlterField(
            model_name="generationrequest",
            name="api_key",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="requests",
                to="generation.apikey",
                verbose_name="API key",
            ),
        ),
        migrations.AlterField(
            model_name="generationrequest",
            name="cost",
            field=models.DecimalField(
                blank=True,
                decimal_places=6,
                help_text="Empty if unknown.",
                max_digits=10,
                null=True,
                verbose_name="cost (USD)",
            ),
        ),
        migrations.AlterField(
            model_name="generationrequest",
            name="eta_seconds",
            field=models.PositiveIntegerField(blank=True, null=True, verbose_name="seconds left"),
        ),
        migrations.AlterField(
            model_name="generationrequest",
            name="uuid",
            field=models.UUIDField(
                default=uuid.uuid4, editable=False, unique=True, verbose_name="UUID"
            ),
        ),
    ]
