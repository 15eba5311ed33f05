"""Fold the words of existing assets as those of new ones.

On PostgreSQL also turn fastupdate off, because every search would read the index's pending list.
"""

from __future__ import annotations

from django.db import migrations

from generation.core.text import fold_text


def refold(apps, schema_editor):
    words = apps.get_model("generation", "AssetText")
    for row in words.objects.iterator(chunk_size=500):
        text = fold_text(row.text)
        if not text:
            row.delete()
        elif text != row.text:
            words.objects.filter(pk=row.pk).update(text=text)


def tune(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER INDEX generation_assettext_words SET (fastupdate = off)")


class Migration(migrations.Migration):
    dependencies = [("generation", "0007_fill_lookup")]
    operations = [
        migrations.RunPython(refold, migrations.RunPython.noop),
        migrations.RunPython(tune, migrations.RunPython.noop),
    ]
