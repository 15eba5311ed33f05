"""Indexes for finding images: perceptual hashes and words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

from django.db import connection, models
from django.db.models import Value
from django.db.models.functions import Concat, StrIndex

from generation.core.text import fold_text
from generation.models.assets import Asset

BANDS = 16
BAND_BITS = 16
# The authors of PDQ advise to ignore hashes of lower quality: all flat images would match.
# https://github.com/facebook/ThreatExchange/tree/main/pdq
QUALITY_MIN = 50
NEAR = 15  # bits of 256: the same image, saved or scaled again
# A smaller distance with a constant lookup cost: 14 bits leave 2 of 16 bands unchanged. In ten
# million images, thousands share one band with an image by chance, but hardly any share two.
CLOSE = 14
WIDE = 31  # PDQ's own limit for a match
# Images with one equal part (white sky, black frame) share bands in large numbers. Only the newest
# are compared.
PER_BAND = 500
# Number of images compared bit by bit; those that share the most bands come first.
CANDIDATES_MAX = 2000


def split_bands(pdq: bytes) -> list[int]:
    """Split the hash into 16 numbers of 16 bits, each prefixed with its band index."""
    return [
        index << BAND_BITS | int.from_bytes(pdq[2 * index : 2 * index + 2], "big")
        for index in range(BANDS)
    ]


def find_candidate_bands(pdq: bytes, *, within: int) -> list[int]:
    """Return the bands of which a hash within this distance must share at least one.

    15 bits cannot change all 16 bands, so at least one is equal. 31 bits cannot change each band
    twice, so at least one differs by at most one bit.
    """
    exact = split_bands(pdq)
    if within < BANDS:
        return exact
    return [*exact, *(key ^ 1 << bit for key in exact for bit in range(BAND_BITS))]


def count_different_bits(one: bytes, other: bytes) -> int:
    """Return the number of bits in which two hashes differ (0 to 256)."""
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


class HashBand(models.Model):
    """One of the 16 bands of an asset's perceptual hash, indexed for similarity search."""

    pk = models.CompositePrimaryKey("key", "asset_id")
    key = models.IntegerField()
    asset = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="bands", db_index=False)

    def __str__(self) -> str:
        return f"Band {self.key >> BAND_BITS} of {self.asset}"

    @classmethod
    def store(cls, asset: Asset) -> None:
        """Store the bands of an asset whose hash is reliable."""
        if asset.pdq is not None and asset.pdq_quality >= QUALITY_MIN:
            HashBand.objects.bulk_create(
                [HashBand(key=key, asset=asset) for key in split_bands(bytes(asset.pdq))]
            )


class AssetTextQuerySet(models.QuerySet["AssetText"]):
    def reading(self, needle: str) -> Self:
        """Return rows whose text contains ``needle``, which starts and ends with a space.

        Reads row by row, so use it on few rows. ``AssetText.with_words`` uses the index.
        """
        padded = Concat(Value(" "), "text", Value(" "), output_field=models.TextField())
        return self.alias(place=StrIndex(padded, Value(needle))).filter(place__gt=0)


class AssetText(models.Model):
    """The searchable words of an asset, folded: its prompt and its file name.

    Migration 0007 creates a full-text index on it: FTS5 on SQLite, GIN on PostgreSQL.
    """

    asset = models.OneToOneField(
        Asset, on_delete=models.CASCADE, primary_key=True, related_name="words"
    )
    text = models.TextField()

    objects = AssetTextQuerySet.as_manager()

    def __str__(self) -> str:
        return self.text[:60]

    @classmethod
    def store(cls, asset: Asset, *, prompt: str) -> None:
        """Store the folded prompt and file name of an asset, if there are any."""
        if text := fold_text(f"{prompt}\n{asset.original_name}"):
            cls.objects.create(asset=asset, text=text)

    @classmethod
    def with_words(
        cls, words: Sequence[str], prefixes: Sequence[str], *, since: int, before: int, limit: int
    ) -> list[int]:
        """Return the IDs of assets that contain all these folded words, from the full-text index.

        ``since`` and ``before`` limit the IDs. On SQLite the result is the newest ``limit``; on
        PostgreSQL it has no order.
        """
        if not all(_WORD.fullmatch(word) for word in (*words, *prefixes)):
            raise ValueError("Only folded words may become a question to the index.")
        sql, quote, also = _SQLITE if connection.vendor == "sqlite" else _POSTGRESQL
        whole = [quote.format(word) for word in words]
        begun = [
            quote.format(prefix) + ("*" if connection.vendor == "sqlite" else ":*")
            for prefix in prefixes
        ]
        with connection.cursor() as cursor:
            cursor.execute(sql, [also.join([*whole, *begun]), since, before, limit])
            return [row[0] for row in cursor.fetchall()]


_WORD = re.compile(r"[^\W_]+")
# The CTE stops PostgreSQL from scanning the table in the hope of reaching the limit early.
_SQLITE = (
    (
        "SELECT rowid FROM generation_assettext_fts WHERE generation_assettext_fts MATCH %s AND"
        " rowid >= %s AND rowid < %s ORDER BY rowid DESC LIMIT %s"
    ),
    '"{}"',
    " AND ",
)
_POSTGRESQL = (
    (
        "WITH hits AS MATERIALIZED (SELECT asset_id FROM generation_assettext "
        "WHERE to_tsvector('simple', text) @@ to_tsquery('simple', %s)) "
        "SELECT asset_id FROM hits WHERE asset_id >= %s AND asset_id < %s LIMIT %s"
    ),
    "'{}'",
    " & ",
)


def find_nearest(
    pdq: bytes, *, within: int = NEAR, limit: int = 12, besides: int | None = None
) -> list[tuple[int, int]]:
    """Return the IDs of similar assets and their distances in bits, nearest first.

    ``besides`` is left out. If more images share a band than can be compared, those that share the
    most bands are compared. An image that differs by 31 random bits shares 6 or 7 of the near bands
    on average, and at least two with a probability of 0.998. An image that shares a band by chance
    shares no second one.
    """
    at_least = 2 if within <= CLOSE else 1
    candidates = set(_find_sharing(find_candidate_bands(pdq, within=within), at_least=at_least)) - {
        besides
    }
    if not candidates:
        return []
    rows = Asset.objects.filter(pk__in=candidates).values_list("pk", "pdq")
    return [
        (primary_key, bits)
        for bits, primary_key in sorted(_filter_by_distance(pdq, rows, within))[:limit]
    ]


def _find_sharing(wanted: Sequence[int], *, at_least: int) -> list[int]:
    """Return the assets that share the most of these bands.

    Reads only the newest PER_BAND assets of each band, because a band may occur in millions.
    """
    is_sqlite = connection.vendor == "sqlite"
    listed = "SELECT value AS key FROM json_each(%s)" if is_sqlite else "SELECT unnest(%s) AS key"
    with connection.cursor() as cursor:
        cursor.execute(
            _SHARING.format(listed=listed),
            [json.dumps(wanted) if is_sqlite else list(wanted), at_least],
        )
        return [row[0] for row in cursor.fetchall()]


_SHARING = f"""
    SELECT band.asset_id FROM ({{listed}}) wanted CROSS JOIN generation_hashband band
    WHERE band.key = wanted.key AND band.asset_id >= COALESCE(
        (SELECT asset_id FROM generation_hashband newer WHERE newer.key = wanted.key
         ORDER BY asset_id DESC LIMIT 1 OFFSET {PER_BAND - 1}), 0)
    GROUP BY band.asset_id HAVING COUNT(*) >= %s ORDER BY COUNT(*) DESC, band.asset_id DESC LIMIT {CANDIDATES_MAX}
"""


def _filter_by_distance(
    pdq: bytes, rows: Iterable[tuple[int, Any]], limit: int
) -> Iterator[tuple[int, int]]:
    for primary_key, other in rows:
        bits = count_different_bits(pdq, bytes(other))
        if bits <= limit:
            yield bits, primary_key
