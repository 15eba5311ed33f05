"""Earlier verdicts: standing decisions on the same file, and on images that look the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from generation.core.db.functions import Unsought
from generation.core.db.prepared.query import PreparedQuery
from generation.models import Asset, HashBand, image_search
from moderation.models.classifications import Classification
from moderation.models.decisions import Decision
from moderation.models.reviews import Review, ReviewQuerySet

# Slug of the classifier that finds known images.
KNOWN_IMAGES = "hashes"
# Copies of one file that are looked at; the oldest come first.
COPIES_MAX = 20
LOOK_ALIKES_MAX = 5
NOT_STORED = 0  # no image's id, for an image that is judged without being stored


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierVerdict:
    """A standing decision on a known image."""

    review: Review
    decision: Decision
    distance: int | None  # differing bits of 256; None: the same file


def _find_copies(asset: int, sha256: str, source_sha256: str) -> QuerySet[Asset, Any]:
    rows = Asset.objects.filter(Q(sha256=sha256) | Q(source_sha256=source_sha256))
    return rows.exclude(pk=asset).values_list("pk", flat=True)


# Almost every image is the only one of its file, and needs no further query.
_COPY: PreparedQuery[Any] = PreparedQuery(
    lambda **file: _find_copies(**file)[:1], asset=int, sha256=str, source_sha256=str
)


def find_same_file(asset: Asset) -> list[EarlierVerdict]:
    """Return standing rejections, and approvals by people, of the same file.

    The same file has the same stored image or the same original. Rejections come first.
    """
    file: dict[str, Any] = {
        "asset": asset.pk or NOT_STORED,
        "sha256": asset.sha256,
        "source_sha256": asset.source_sha256,
    }
    if _COPY.row(**file) is None:
        return []
    copies = _find_copies(**file)
    rows = Review.objects.filter(asset__in=copies)
    rejected = _select(_keep_rejected(rows))[:COPIES_MAX]
    approved = _select(_with_status(rows, Review.Status.APPROVED, decided_by__isnull=False))
    found = [*rejected, *approved[:COPIES_MAX]]
    return list(_pair(found, dict.fromkeys(row.asset_id for row in found)))


def find_rejected_look_alikes(asset: Asset, *, within: int) -> list[EarlierVerdict]:
    """Return standing rejections of images within a distance in bits, nearest first.

    At most LOOK_ALIKES_MAX.
    """
    if asset.pdq is None or asset.pdq_quality < image_search.QUALITY_MIN:
        return []
    distances = find_near_with_status(asset, Review.Status.REJECTED, within=within)
    if not distances:
        return []
    rows = _select(_keep_rejected(Review.objects.filter(asset__in=distances)))
    found = sorted(rows, key=lambda row: (distances[row.asset_id], row.pk))
    return list(_pair(found[:LOOK_ALIKES_MAX], distances))


def find_near_with_status(asset: Asset, status: str, *, within: int) -> dict[int, int]:
    """Return the ids of all images with a status within a distance, with their distances in bits.

    ``image_search.find_nearest`` compares only the newest images with a common part, so newer
    images of other statuses would hide an older one here.
    """
    assert asset.pdq is not None, "Only images with a reliable hash have look-alikes."
    pdq = bytes(asset.pdq)
    keys = image_search.find_candidate_bands(pdq, within=within)
    bands = {f"band_{number}": key for number, key in enumerate(keys)}
    rows = _prepare_sharing(len(keys)).rows(asset=asset.pk or NOT_STORED, status=status, **bands)
    distances = {
        primary_key: image_search.count_different_bits(pdq, bytes(other))
        for primary_key, other in rows
        if other is not None
    }
    return {primary_key: bits for primary_key, bits in distances.items() if bits <= within}


@cache
def _prepare_sharing(count: int) -> PreparedQuery[Any]:
    """Return the query for images with a status that share one of ``count`` bands with an image."""

    def build(asset: int, status: str, **bands: int) -> QuerySet[HashBand, Any]:
        # SQLite must start with the few bands, not with all images that have the status.
        rows = HashBand.objects.alias(state=Unsought("asset__review__status"))
        rows = rows.filter(key__in=list(bands.values()), state=status).exclude(asset=asset)
        return rows.values_list("asset", "asset__pdq").distinct()

    bands = {f"band_{number}": int for number in range(count)}
    return PreparedQuery(build, asset=int, status=str, **bands)


def _keep_rejected(rows: ReviewQuerySet) -> ReviewQuerySet:
    """Keep standing rejections that do not themselves follow from a known image.

    Otherwise a reversed rejection would live on in the copies that were rejected because of it.
    """
    followed = Classification.objects.filter(
        asset=OuterRef("asset"), classifier=KNOWN_IMAGES, raw__rejects=True
    )
    rows = _with_status(rows, Review.Status.REJECTED)
    return rows.exclude(Exists(followed), decided_by__isnull=True)


def _with_status(rows: ReviewQuerySet, status: str, **more: bool) -> ReviewQuerySet:
    # Few assets were chosen: SQLite must not read all reviews with this status instead.
    return rows.alias(state=Unsought("status")).filter(state=status, **more)


def _select(rows: ReviewQuerySet) -> ReviewQuerySet:
    return rows.select_related("asset").order_by("asset_id")


def _pair(
    reviews: Iterable[Review], distances: dict[int, int | None] | dict[int, int]
) -> Iterator[EarlierVerdict]:
    found = list(reviews)
    decisions = Decision.objects.map_last_effective(row.pk for row in found) if found else {}
    for row in found:
        if decision := decisions.get(row.pk):
            yield EarlierVerdict(
                review=row, decision=decision, distance=distances.get(row.asset_id)
            )
