"""The form in which a program gets an approved image: original, rendition or blurred.

``choose_form`` is the only place that decides this.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from generation.models import Asset
from generation.services import blurring
from moderation.models import Decision, Policy, Verdict

if TYPE_CHECKING:
    from django.db.models.fields.files import FieldFile


class Form(StrEnum):
    ORIGINAL = "original"
    RENDITION = "rendition"
    BLURRED = "blurred"


# Reasons for the rendition, besides the codes of OriginalProblem.
NO_ORIGINAL = "no-original"  # stored before Loupe kept originals
POLICY = "policy"  # the policy always delivers the rendition
UNSEEN = "unseen"  # the original looks different, and no person has seen it
NOT_APPROVED = "not-approved"
FILE_MISSING = "file-missing"
PURGED = "purged"  # the reason why there is no form at all


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredForm:
    """The file that is delivered, and why it is the rendition."""

    form: Form
    reason: str = ""  # of a rendition
    file: FieldFile
    image_type: str
    known_size: int | None = None  # None for a blurred file: only its storage knows the size

    @property
    def size(self) -> int:
        """Return the bytes of the file; 0 for a blurred one that is not stored yet."""
        return blurring.find_size(self.file) if self.known_size is None else self.known_size


def choose_form(asset: Asset, decision: Decision | None, policy: Policy | None) -> DeliveredForm:
    """Return the form of an asset, whose review must be loaded.

    ``decision`` is the approval that counts (``_find_approvals``), ``policy`` the one that was in
    force then.
    """
    if asset.review.is_blurred:
        return _build_blurred_form(asset)
    if reason := _find_reason_for_rendition(asset, decision, policy):
        return build_rendition_form(asset, reason)
    return DeliveredForm(
        form=Form.ORIGINAL,
        file=asset.original,
        image_type=asset.original_type,
        known_size=asset.original_size or 0,
    )


def _build_blurred_form(asset: Asset) -> DeliveredForm:
    return DeliveredForm(
        form=Form.BLURRED,
        file=blurring.get_blurred_file(asset),
        image_type=asset.image_type,
    )


def build_rendition_form(asset: Asset, reason: str) -> DeliveredForm:
    return DeliveredForm(
        form=Form.RENDITION,
        reason=reason,
        file=asset.rendition,
        image_type=asset.image_type,
        known_size=asset.size,
    )


def _find_reason_for_rendition(
    asset: Asset, decision: Decision | None, policy: Policy | None
) -> str:
    """Return why the original is not delivered; "" if it is."""
    if decision is None:
        return NOT_APPROVED
    if not asset.original:
        return asset.original_problem or NO_ORIGINAL
    if policy is not None and policy.delivers_rendition:
        return POLICY
    # Classifiers judge the rendition only, and batches show thumbnails of it.
    if asset.differs and not _is_seen(decision):
        return UNSEEN
    return ""


def _is_seen(decision: Decision) -> bool:
    """Return whether a person decided on the review page, which shows all views."""
    return not decision.by_policy and decision.batch is None


def load_forms(assets: Iterable[Asset]) -> dict[int, DeliveredForm]:
    """Return the form of each asset by its primary key, with one query.

    An image whose files were removed has none.
    """
    given = [asset for asset in assets if not asset.is_purged]
    approvals = _find_approvals(given)
    forms = {}
    for asset in given:
        decision = approvals.get(asset.pk)
        policy = (decision.policy_in_force or decision.policy) if decision else None
        forms[asset.pk] = choose_form(asset, decision, policy)
    return forms


def _find_approvals(assets: list[Asset]) -> dict[int, Decision]:
    """Return the approval of each asset that counts: the newest one of a person who saw it."""
    rows = (
        Decision.objects.effective()
        .filter(review__asset__in=assets, verdict=Verdict.APPROVE)
        .select_related("review", "policy", "policy_in_force")
        .order_by("sequence")
    )
    found: dict[int, Decision] = {}
    for row in rows:
        before = found.get(row.review.asset_id)
        if before is None or _is_seen(row) or not _is_seen(before):
            found[row.review.asset_id] = row
    return found
