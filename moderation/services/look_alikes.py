"""Look-alikes of a rejected image that are already released, and their withdrawal."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings
from django.db.models import Q

from generation.core.db.functions import Unsought
from generation.models import Asset, image_search
from moderation import taxonomy
from moderation.models import Decision, Review, Verdict
from moderation.services import batches, decisions

if TYPE_CHECKING:
    from django.contrib.auth.models import User

NOT_REJECTED = "The image is not rejected any more, so its look-alikes stay released."


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAlike:
    """A released image that looks the same as a rejected one, or is the same file."""

    review: Review
    distance: int | None  # differing bits of 256; None: the same file


def find_released(*, review: Review, user: User) -> list[LookAlike]:
    """Return the approved look-alikes of a rejected image, nearest first; [] for another image.

    At most ``batches.LIMIT``. Images on which the user gives a second opinion are left out.
    """
    if review.status != Review.Status.REJECTED:
        return []
    distances = _find_distances(review.asset)
    if not distances:
        return []
    # Few assets were chosen: SQLite must not read all approved reviews instead.
    rows = Review.objects.alias(state=Unsought("status")).filter(
        asset__in=distances, state=Review.Status.APPROVED, asset__purged_at__isnull=True
    )
    withheld = set(Review.objects.blind_to(user).values_list("pk", flat=True))
    found = [
        LookAlike(review=row, distance=distances[row.asset_id])
        for row in rows.select_related("asset", "decided_by", "policy")
        if row.pk not in withheld
    ]
    found.sort(key=lambda one: (-1 if one.distance is None else one.distance, one.review.pk))
    return found[: batches.LIMIT]


def list_released_by_batch(*, batch: UUID, user: User) -> list[tuple[Review, int]]:
    """Return the images that a batch rejected and that have released look-alikes, with the number.

    Images that are not rejected any more have none.
    """
    rejected = Review.objects.filter(
        pk__in=Decision.objects.of_batch(batch).filter(verdict=Verdict.REJECT).values("review")
    )
    found = [
        (review, len(find_released(review=review, user=user)))
        for review in rejected.select_related("asset").order_by("pk")
        if not review.is_blind_to(user)
    ]
    return [(review, count) for review, count in found if count]


def _find_distances(asset: Asset) -> dict[int, int | None]:
    """Return the ids of look-alikes with their distance; None for the same file."""
    limit = image_search.CANDIDATES_MAX
    distances: dict[int, int | None] = {}
    if asset.pdq is not None and asset.pdq_quality >= image_search.QUALITY_MIN:
        distances.update(
            image_search.find_nearest(
                bytes(asset.pdq),
                within=settings.HASH_MATCH_DISTANCE,
                limit=limit,
                besides=asset.pk,
            )
        )
    copies = Asset.objects.filter(Q(sha256=asset.sha256) | Q(source_sha256=asset.source_sha256))
    same = copies.exclude(pk=asset.pk).order_by("-pk").values_list("pk", flat=True)
    return distances | dict.fromkeys(same[:limit])


def withdraw(
    *, review: Review, user: User, chosen: Collection[UUID], note: str = "", batch: UUID | None
) -> batches.Outcome:
    """Withdraw the chosen look-alikes for the categories of the rejection.

    Images that are no longer released look-alikes are left alone. Raises DecisionError.
    """
    if not user.has_perm("moderation.decide_review"):
        raise decisions.NotPermittedError("You can view but not decide.")
    decision = Decision.objects.map_last_effective([review.pk]).get(review.pk)
    if decision is None or review.status != Review.Status.REJECTED:
        raise decisions.ConflictError(NOT_REJECTED)
    released = [one.review for one in find_released(review=review, user=user)]
    wanted = [row for row in released if row.uuid in chosen]
    if not wanted and batch is not None:
        # A repeated batch returns its outcome, although its images are no longer released.
        wanted = list(Review.objects.filter(decisions__batch=batch).distinct())
    names = taxonomy.join_names(decision.categories)
    cause = f"Looks like image {review.asset.short_id}, which was rejected as {names}."
    return batches.withdraw_many(
        reviews=wanted,
        user=user,
        categories=decision.categories,
        note=f"{cause} {note}".strip(),
        batch=batch,
    )
