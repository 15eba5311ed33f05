"""By what an image is found again: how it looks, and the words it was made with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

from django.db import connection, models
from django.db.models import Value
from django.db.models.functions import Concat, StrIndex

from generation.core.text import fold
from generation.models.assets import Asset

BANDS = 16
BAND_BITS = 16
# PDQ's authors advise to trust no hash of a lower quality: all flat images would look alike.
# https://github.com/facebook/ThreatExchange/tree/main/pdq
QUALITY_MIN = 50
NEAR = 15  # bits of 256: the same picture, saved or scaled again
# A bit less, and found at a price that does not grow: 14 bits leave two of 16 bands as they are. By
# chance an image shares one band with thousands of ten million others, and two with hardly any.
CLOSE = 14
WIDE = 31  # PDQ's own limit for "matches"
# Pictures that are alike in one part (a white sky, a black frame) share bands by the thousand. The
# newest will do.
PER_BAND = 500
# How many of those that share bands are compared bit by bit, those that share most bands first.
CANDIDATES_MAX = 2000


def bands(pdq: bytes) -> list[int]:
    """The hash cut into 16 numbers of 16 bits, each with its place in front, so that places cannot
    be mixed up.
    """
    return [
        index << BAND_BITS | int.from_bytes(pdq[2 * index : 2 * index + 2], "big")
        for index in range(BANDS)
    ]


def keys(pdq: bytes, *, within: int) -> list[int]:
    """The bands that a hash within this distance must share one of.

    15 bits cannot touch all of 16 bands, so one is equal; 31 cannot touch each twice, so one
    differs by a bit at most.
    """
    exact = bands(pdq)
    if within < BANDS:
        return exact
    return [*exact, *(key ^ 1 << bit for key in exact for bit in range(BAND_BITS))]


def distance(one: bytes, other: bytes) -> int:
    """In how many of the 256 bits they differ."""
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


class HashBand(models.Model):
    """One of the 16 bands of an asset's perceptual hash. An index lookup by bands finds every near
    image.
    """

    pk = models.CompositePrimaryKey("key", "asset_id")
    key = models.IntegerField()
    asset = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="bands", db_index=False)

    def __str__(self) -> str:
        return f"Band {self.key >> BAND_BITS} of {self.asset}"

    @classmethod
    def store(cls, asset: Asset) -> None:
        if asset.pdq is not None and asset.pdq_quality >= QUALITY_MIN:
            HashBand.objects.bulk_create(
                [HashBand(key=key, asset=asset) for key in bands(bytes(asset.pdq))]
            )


class AssetTextQuerySet(models.QuerySet["AssetText"]):
    def reading(self, needle: str) -> Self:
        """Whose text has this stretch in it, with a space before its first word and behind its
        last.

        Reads row by row, so it is meant for few. By an index: ``AssetText.with_words``.
        """
        padded = Concat(Value(" "), "text", Value(" "), output_field=models.TextField())
        return self.alias(place=StrIndex(padded, Value(needle))).filter(place__gt=0)


class AssetText(models.Model):
    """The words that belong to an image, folded: its prompt, wherever it was made, and its file's
    name.

    Migration 0007 keeps a full-text index over it: FTS5 on SQLite, GIN on PostgreSQL.
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
        if text := fold(f"{prompt}\n{asset.original_name}"):
            cls.objects.create(asset=asset, text=text)

    @classmethod
    def with_words(
        cls, words: Sequence[str], prefixes: Sequence[str], *, since: int, before: int, limit: int
    ) -> list[int]:
        """Ids of assets that have all these folded words, by the full-text index. SQLite gives the
        newest.
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
# The CTE keeps PostgreSQL from walking the table when it hopes that the limit is reached soon.
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


def nearest(
    pdq: bytes, *, within: int = NEAR, limit: int = 12, besides: int | None = None
) -> list[tuple[int, int]]:
    """Ids of assets that look like this hash, nearest first, with their distances in bits; without
    ``besides``.

    Where more images share a band than can be compared, those go first that share most. An image
    that differs by 31 bits anywhere shares 6 or 7 of the near bands and two with a probability of
    0.998, one that only happens to share one shares no second.
    """
    at_least = 2 if within <= CLOSE else 1
    candidates = set(_sharing(keys(pdq, within=within), at_least=at_least)) - {besides}
    if not candidates:
        return []
    rows = Asset.objects.filter(pk__in=candidates).values_list("pk", "pdq")
    return [(primary_key, bits) for bits, primary_key in sorted(_within(pdq, rows, within))[:limit]]


def _sharing(wanted: Sequence[int], *, at_least: int) -> list[int]:
    """Assets that have most of these bands: of each band the newest, because one band may belong to
    millions.
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


def _within(pdq: bytes, rows: Iterable[tuple[int, Any]], limit: int) -> Iterator[tuple[int, int]]:
    for primary_key, other in rows:
        bits = distance(pdq, bytes(other))
        if bits <= limit:
            yield bits, primary_key
