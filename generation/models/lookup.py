"""By what an image is found again: how it looks, and the words it was made with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import models
from django.db.models import QuerySet

from generation.models.assets import Asset
from generation.models.prepared import Prepared

BANDS = 16
BAND_BITS = 16
# PDQ's authors advise to trust no hash of a lower quality: all flat images would look alike.
# https://github.com/facebook/ThreatExchange/tree/main/pdq
QUALITY_MIN = 50
NEAR = 15  # bits of 256: the same picture, saved or scaled again
WIDE = 31  # PDQ's own limit for "matches"
# Pictures that are alike in one part (a white sky, a black frame) share bands by the thousand. The newest will do.
CANDIDATES_MAX = 4000


def bands(pdq: bytes) -> list[int]:
    """The hash cut into 16 numbers of 16 bits, each with its place in front, so that places cannot be mixed up."""
    return [index << BAND_BITS | int.from_bytes(pdq[2 * index : 2 * index + 2], "big") for index in range(BANDS)]


def keys(pdq: bytes, *, within: int) -> list[int]:
    """The bands that a hash within this distance must share one of.

    15 bits cannot touch all of 16 bands, so one is equal; 31 cannot touch each twice, so one differs by a bit at most.
    """
    exact = bands(pdq)
    if within < BANDS:
        return exact
    return [*exact, *(key ^ 1 << bit for key in exact for bit in range(BAND_BITS))]


def distance(one: bytes, other: bytes) -> int:
    """In how many of the 256 bits they differ."""
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


class HashBand(models.Model):
    """One of the 16 bands of an asset's perceptual hash. An index lookup by bands finds every near image."""

    pk = models.CompositePrimaryKey("key", "asset_id")
    key = models.IntegerField()
    asset = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="bands", db_index=False)

    def __str__(self) -> str:
        return f"Band {self.key >> BAND_BITS} of {self.asset}"

    @classmethod
    def store(cls, asset: Asset) -> None:
        if asset.pdq is not None and asset.pdq_quality >= QUALITY_MIN:
            cls.objects.bulk_create([cls(key=key, asset=asset) for key in bands(bytes(asset.pdq))])


class AssetText(models.Model):
    """The words that belong to an image: its prompt, wherever it was made, and its file's name.

    Migration 0007 keeps a full-text index over it: FTS5 on SQLite, GIN on PostgreSQL.
    """

    asset = models.OneToOneField(Asset, on_delete=models.CASCADE, primary_key=True, related_name="words")
    text = models.TextField()

    def __str__(self) -> str:
        return self.text[:60]

    @classmethod
    def store(cls, asset: Asset, *, prompt: str) -> None:
        text = "\n".join(part for part in (prompt, asset.original_name) if part)
        if text:
            cls.objects.create(asset=asset, text=text)


def _sharing(wanted: Iterable[int]) -> QuerySet[HashBand, int]:
    rows = HashBand.objects.filter(key__in=list(wanted)).order_by("-asset_id")
    return rows.values_list("asset_id", flat=True)[:CANDIDATES_MAX]


_PLACES = [f"place{at}" for at in range(BANDS)]
_NEAR: Prepared[Any] = Prepared(lambda **places: _sharing(places.values()), **dict.fromkeys(_PLACES, int))


def similar(pdq: bytes, *, within: int = NEAR, limit: int = 12, besides: int | None = None) -> list[tuple[int, int]]:
    """Ids of assets that look like this hash, nearest first, with their distances in bits; not ``besides``."""
    wanted = keys(pdq, within=within)
    is_usual = len(wanted) == BANDS
    sharing = _NEAR.rows(**dict(zip(_PLACES, wanted, strict=True))) if is_usual else _sharing(wanted)
    candidates = set(sharing) - {besides}
    if not candidates:
        return []
    rows = Asset.objects.filter(pk__in=candidates).values_list("pk", "pdq")
    near = sorted((distance(pdq, bytes(other)), primary_key) for primary_key, other in rows)
    return [(primary_key, bits) for bits, primary_key in near if bits <= within][:limit]
