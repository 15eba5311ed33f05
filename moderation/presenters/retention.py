"""Context of the pages about retention rules, erasures and legal holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import Count, Q

from generation.models import Asset
from moderation.models import Erasure, LegalHold, RetentionEvent, RetentionRule
from moderation.services import legal_holds, retention

if TYPE_CHECKING:
    from django.contrib.auth.models import User

EVENTS_SHOWN = 30
ERASURES_SHOWN = 20
HOLDS_SHOWN = 200


def build_rules(user: User) -> dict[str, Any]:
    """Build the list of rules with what each one does."""
    return {
        "rules": RetentionRule.objects.select_related("created_by"),
        "erasures": Erasure.objects.select_related("ordered_by")[:ERASURES_SHOWN],
        "events": RetentionEvent.objects.all()[:EVENTS_SHOWN],
        "purged": Asset.objects.filter(purged_at__isnull=False).count(),
        "may_change": user.has_perm("moderation.change_retentionrule"),
        "may_erase": user.has_perm("moderation.add_erasure"),
    }


def build_rule(rule: RetentionRule, user: User) -> dict[str, Any]:
    return {
        "rule": rule,
        "preview": retention.preview(rule),
        "may_change": user.has_perm("moderation.change_retentionrule"),
    }


def build_holds(user: User) -> dict[str, Any]:
    """Build the list of holds: those in effect first."""
    rows = (
        LegalHold.objects.select_related("lift", "request")
        .annotate(count=Count("images", filter=Q(scope=LegalHold.Scope.IMAGES)))
        .order_by("-pk")
    )
    return {
        "holds": rows.filter(lift__isnull=True)[:HOLDS_SHOWN],
        "lifted": rows.filter(lift__isnull=False)[:HOLDS_SHOWN],
        "may_place": user.has_perm(legal_holds.PLACE),
        "may_lift": user.has_perm(legal_holds.LIFT),
        "may_search": user.has_perms(
            ("moderation.view_review", "generation.view_generationrequest")
        ),
    }


def build_asset_state(asset: Asset, user: User) -> dict[str, Any]:
    """Build what the dossier shows: the tombstone, and the holds on the image."""
    may_view = user.has_perm("moderation.view_legalhold")
    return {
        "holds": list(legal_holds.find_holds(asset)) if may_view else [],
        "may_place_hold": user.has_perm(legal_holds.PLACE),
        "may_lift_hold": user.has_perm(legal_holds.LIFT),
    }
