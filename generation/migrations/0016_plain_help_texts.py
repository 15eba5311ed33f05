"""Plain help texts and labels; no column changes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("generation", "0015_job_slots"),
    ]

    operations = [
        migrations.AlterField(
            model_name="apicall",
            name="images",
            field=models.PositiveSmallIntegerField(
                default=0, help_text="Images requested or classified."
            ),
        ),
        migrations.AlterField(
            model_name="asset",
            name="detection",
            field=models.JSONField(
                blank=True,
                help_text="Result of the provider's NSFW detection, unchanged.",
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="asset",
            name="external_id",
            field=models.CharField(
                blank=True, help_text="Id of this image at its source.", max_length=200
            ),
        ),
        migrations.AlterField(
            model_name="asset",
            name="frames",
            field=models.PositiveIntegerField(
                default=1,
                help_text="Frames of the received file. Only the first is kept and classified.",
            ),
        ),
        migrations.AlterField(
            model_name="asset",
            name="provider_url",
            field=models.TextField(
                blank=True, help_text="URL at the provider, without its signature."
            ),
        ),
        migrations.AlterField(
            model_name="asset",
            name="seed",
            field=models.BigIntegerField(
                blank=True, help_text="Seed of this image, if the provider reports it.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="generationrequest",
            name="cost",
            field=models.DecimalField(
                blank=True, decimal_places=6, help_text="USD, if known.", max_digits=10, null=True
            ),
        ),
        migrations.AlterField(
            model_name="generationrequest",
            name="error",
            field=models.TextField(blank=True, help_text="Readable message for the reason."),
        ),
        migrations.AlterField(
            model_name="generationrequest",
            name="reason",
            field=models.CharField(
                blank=True, help_text="Error code of the provider or of Loupe.", max_length=80
            ),
        ),
        migrations.AlterField(
            model_name="importrun",
            name="scope",
            field=models.CharField(
                blank=True,
                help_text="Part of the source: a project or a collection.",
                max_length=200,
            ),
        ),
        migrations.AlterField(
            model_name="remoteimage",
            name="refreshes",
            field=models.PositiveSmallIntegerField(
                default=0, help_text="How often a fresh URL was requested."
            ),
        ),
        migrations.AlterField(
            model_name="storagereport",
            name="failed_at",
            field=models.DateTimeField(
                blank=True, help_text="Time of the first failed write or read.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="storagereport",
            name="free_bytes",
            field=models.BigIntegerField(
                blank=True, help_text="Empty: the storage has no limit.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="storagereport",
            name="storage_id",
            field=models.CharField(
                blank=True,
                help_text="Identity stored in the storage itself, equal on hosts that share it.",
                max_length=32,
            ),
        ),
    ]
