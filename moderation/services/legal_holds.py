"""Legal holds: placed on images, a request or an end user, and lifted, each with a reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from generation.models import Asset, GenerationRequest
from generation.services import purging
from moderation.models import HeldImage, LegalHold, LegalHoldLift
from moderation.models.retention import is_held

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PLACE = "moderation.add_legalhold"
LIFT = "moderation.lift_legalhold"
IMAGES_MAX = 20_000  # of one hold on a search result
_CHUNK = 500  # SQLite accepts about 1,000 values in a statement
Scope = LegalHold.Scope


class LegalHoldError(ValueError):
    """A refused hold or lift. ``str(error)`` is a message for the user."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A new hold, how many stored images it covers now, and how many were removed before."""

    hold: LegalHold
    images: int
    gone: int


def place_on_images(*, assets: Iterable[int], about: str, reason: str, user: User) -> Placed:
    """Hold these images. Raises LegalHoldError."""
    pks = sorted(set(assets))
    if not pks:
        raise LegalHoldError("No image matches, so there is nothing to hold.")
    if len(pks) > IMAGES_MAX:
        raise LegalHoldError(
            f"A hold covers at most {IMAGES_MAX:,} images. Narrow the search, or hold the end user."
        )
    with transaction.atomic():
        _lock(Q(pk__in=chunk) for chunk in _split(pks))
        hold = _create(Scope.IMAGES, about, reason, user)
        for chunk in _split(pks):
            HeldImage.objects.bulk_create([HeldImage(hold=hold, asset_id=pk) for pk in chunk])
        return _count(hold, Q(held__hold=hold))


def place_on_request(*, request: GenerationRequest, reason: str, user: User) -> Placed:
    """Hold all images of a request, those that are still to come too. Raises LegalHoldError."""
    with transaction.atomic():
        _lock([Q(request=request)])
        hold = _create(Scope.REQUEST, f"Request {request.short_id}", reason, user, request=request)
        return _count(hold, Q(request=request))


def place_on_end_user(*, end_user: str, reason: str, user: User) -> Placed:
    """Hold all images of an end user, those to come too. Raises LegalHoldError."""
    end_user = end_user.strip()
    if not end_user:
        raise LegalHoldError("Write the end user's id as programs send it.")
    with transaction.atomic():
        _lock([purging.find_by_end_user(end_user)])
        hold = _create(Scope.END_USER, f"End user {end_user}", reason, user, end_user=end_user)
        return _count(hold, purging.find_by_end_user(end_user))


def _lock(conditions: Iterable[Q]) -> None:
    """Wait for a removal that is marking these images; the next one sees the hold."""
    for condition in conditions:
        rows = Asset.objects.select_for_update(of=("self",)).filter(condition)
        for _ in rows.order_by("pk").values_list("pk").iterator():
            pass


def _split(pks: list[int]) -> Iterator[list[int]]:
    return (pks[start : start + _CHUNK] for start in range(0, len(pks), _CHUNK))


def _create(
    scope: str,
    about: str,
    reason: str,
    user: User,
    *,
    request: GenerationRequest | None = None,
    end_user: str = "",
) -> LegalHold:
    if not reason.strip():
        raise LegalHoldError("Write a reason, for example the number of the case.")
    return LegalHold.objects.create(
        scope=scope,
        about=about[:500],
        reason=reason.strip(),
        request=request,
        end_user=end_user,
        placed_by=user,
        placed_by_name=user.get_username(),
    )


def _count(hold: LegalHold, condition: Q) -> Placed:
    rows = Asset.objects.filter(condition)
    stored = rows.filter(purged_at__isnull=True).count()
    return Placed(hold, stored, rows.count() - stored)


def lift(*, hold: LegalHold, reason: str, user: User) -> LegalHoldLift:
    """End a hold. Raises LegalHoldError."""
    if not reason.strip():
        raise LegalHoldError("Write a reason for the lift.")
    try:
        with transaction.atomic():
            return LegalHoldLift.objects.create(
                hold=hold,
                reason=reason.strip(),
                lifted_by=user,
                lifted_by_name=user.get_username(),
            )
    except IntegrityError:
        raise LegalHoldError("This hold is lifted already.") from None


def find_holds(asset: Asset) -> QuerySet[LegalHold]:
    """Return all holds that cover an image, lifted ones too, newest first."""
    covers = Q(images__asset=asset)
    if asset.request_id is not None:
        covers |= Q(request=asset.request_id)
    users = {asset.end_user, asset.request.end_user if asset.request else ""} - {""}
    if users:
        covers |= Q(end_user__in=users)
    return LegalHold.objects.filter(covers).select_related("lift").distinct().order_by("-pk")


def is_on_hold(asset: Asset) -> bool:
    """Return whether a hold in effect covers an image."""
    return Asset.objects.filter(is_held(), pk=asset.pk).exists()
