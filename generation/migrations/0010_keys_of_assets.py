"""Add the API key to assets, and the scope ``read:all``.

Existing keys with ``read`` could read all assets, so they get ``read:all`` too.
"""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


def fill(apps, schema_editor):
    asset, key = apps.get_model("generation", "Asset"), apps.get_model("generation", "ApiKey")
    request = apps.get_model("generation", "GenerationRequest")
    for row in key.objects.all():
        asset.objects.filter(request__in=request.objects.filter(api_key=row)).update(api_key=row)
        # External IDs of images that a key uploaded begin with its UUID.
        asset.objects.filter(source="api", external_id__startswith=f"{row.uuid}:").update(
            api_key=row
        )
        if "read" in row.scopes and "read:all" not in row.scopes:
            row.scopes = [*row.scopes, "read:all"]
            row.save(update_fields=["scopes"])


def take_back(apps, schema_editor):
    for row in apps.get_model("generation", "ApiKey").objects.all():
        if "read:all" in row.scopes:
            row.scopes = sorted({*row.scopes, "read"} - {"read:all"})
            row.save(update_fields=["scopes"])


class Migration(migrations.Migration):
    dependencies = [("generation", "0009_names_in_the_admin")]

    operations = [
        migrations.AddField(
            model_name="asset",
            name="api_key",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="assets",
                to="generation.apikey",
            ),
        ),
        migrations.RunPython(fill, take_back),
        migrations.AddIndex(
            model_name="asset",
            index=models.Index(
                condition=models.Q(("api_key__isnull", False)),
                fields=["api_key", "-created_at", "-id"],
                name="asset_of_key",
            ),
        ),
    ]
