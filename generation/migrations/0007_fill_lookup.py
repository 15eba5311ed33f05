"""Hash bands and words of existing assets, and the full-text index on the words.

The index is a feature of the database: FTS5 with triggers on SQLite, an expression index on
PostgreSQL. A later migration that makes Django rebuild the table of AssetText on SQLite must create
the triggers again.
"""

from __future__ import annotations

from django.db import migrations

TABLE = "generation_assettext"
FTS = f"{TABLE}_fts"
SQLITE = [
    f"CREATE VIRTUAL TABLE {FTS} USING fts5(text, content='{TABLE}', content_rowid='asset_id', "
    "tokenize='unicode61 remove_diacritics 2')",
    f"CREATE TRIGGER {FTS}_insert AFTER INSERT ON {TABLE} BEGIN "
    f"INSERT INTO {FTS}(rowid, text) VALUES (new.asset_id, new.text); END",
    f"CREATE TRIGGER {FTS}_delete AFTER DELETE ON {TABLE} BEGIN "
    f"INSERT INTO {FTS}({FTS}, rowid, text) VALUES ('delete', old.asset_id, old.text); END",
    f"CREATE TRIGGER {FTS}_update AFTER UPDATE ON {TABLE} BEGIN "
    f"INSERT INTO {FTS}({FTS}, rowid, text) VALUES ('delete', old.asset_id, old.text); "
    f"INSERT INTO {FTS}(rowid, text) VALUES (new.asset_id, new.text); END",
]
POSTGRESQL = [f"CREATE INDEX {TABLE}_words ON {TABLE} USING gin (to_tsvector('simple', text))"]
UNDO_SQLITE = [
    *(f"DROP TRIGGER {FTS}_{event}" for event in ("insert", "delete", "update")),
    f"DROP TABLE {FTS}",
]
UNDO_POSTGRESQL = [f"DROP INDEX {TABLE}_words"]


def make_index(apps, schema_editor):
    for statement in SQLITE if schema_editor.connection.vendor == "sqlite" else POSTGRESQL:
        schema_editor.execute(statement)


def drop_index(apps, schema_editor):
    for statement in (
        UNDO_SQLITE if schema_editor.connection.vendor == "sqlite" else UNDO_POSTGRESQL
    ):
        schema_editor.execute(statement)


def fill(apps, schema_editor):
    asset_model, band, words = (
        apps.get_model("generation", name) for name in ("Asset", "HashBand", "AssetText")
    )
    for asset in asset_model.objects.select_related("request").iterator(chunk_size=500):
        if asset.pdq is not None and asset.pdq_quality >= 50:
            pdq = bytes(asset.pdq)
            keys = [
                place << 16 | int.from_bytes(pdq[2 * place : 2 * place + 2], "big")
                for place in range(16)
            ]
            band.objects.bulk_create([band(key=key, asset_id=asset.pk) for key in keys])
        elsewhere = asset.metadata.get("scenario")
        elsewhere = str(elsewhere.get("prompt", "")) if isinstance(elsewhere, dict) else ""
        prompt = asset.request.prompt if asset.request else elsewhere
        if text := "\n".join(part for part in (prompt, asset.original_name) if part):
            words.objects.create(asset_id=asset.pk, text=text)


class Migration(migrations.Migration):
    dependencies = [("generation", "0006_lookup")]
    operations = [
        migrations.RunPython(make_index, drop_index),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
