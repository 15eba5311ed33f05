"""Context of the page that shows which hash lists have an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moderation import taxonomy
from moderation.models import Decision, HashEntry, HashList, Review
from moderation.services import hash_lists

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def build_hash_lists(*, user: User, review: Review) -> dict[str, Any]:
    """Build the context: the image's hashes, the entries that match, and what can be added."""
    asset = review.asset
    decision = Decision.objects.map_last_effective([review.pk]).get(review.pk)
    kind = hash_lists.find_kind(decision) if review.is_decided else None
    lists = HashList.objects.filter(kind=kind, is_active=True).order_by("name") if kind else ()
    algorithms = [HashEntry.Algorithm.SHA256]
    pdq = hash_lists.read_pdq(asset)
    if pdq:
        algorithms.append(HashEntry.Algorithm.PDQ)
    names = list(decision.categories) if decision else []
    return {
        "review": review,
        "asset": asset,
        "pdq": pdq.hex() if pdq else "",
        "found": hash_lists.search_asset(asset),
        "lists": list(lists),
        "kind": HashList.Kind(kind).label.lower() if kind else "",
        "algorithms": algorithms,
        "categories": [(slug, taxonomy.join_names([slug])) for slug in names],
        "may_remove": user.has_perm("moderation.delete_hashentry"),
    }
