"""Context of the page of verifications and published heads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings

from moderation.models import ChainHead, PublishedHead, Verification
from moderation.services import published_heads, sealing

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SHOWN = 20


def build_verifications(user: User) -> dict[str, Any]:
    rows = list(Verification.objects.select_related("started_by").order_by("-pk")[:SHOWN])
    finished = [row for row in rows if not row.is_running]
    head = ChainHead.objects.filter(pk=1).first()
    last = finished[0] if finished else None
    return {
        "running": next((row for row in rows if row.is_running), None),
        "last": last,
        "verifications": finished,
        "head": head,
        "notice": sealing.explain_state(head),
        "since": head.sequence - last.until if head and last else 0,
        "may_start": user.has_perm("moderation.add_verification"),
        **build_publication(),
    }


def build_publication() -> dict[str, Any]:
    """Return where heads are published, the newest ones, and the failing ones."""
    return {
        "targets": published_heads.list_targets(),
        "is_signed": bool(settings.HEAD_SIGNING_KEY),
        "publish_hours": settings.HEAD_PUBLISH_HOURS,
        "published": list(PublishedHead.objects.order_by("-pk")[:SHOWN]),
        "failing": list(published_heads.find_failing()),
    }
