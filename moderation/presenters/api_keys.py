"""Context of the pages about API keys: one's own, and all of them for operators."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.db.models import F

from generation.core.db import keyset
from generation.models import ApiKey
from moderation.forms.api_keys import GRACES
from moderation.presenters import team
from moderation.presenters.key_rows import describe_key

SHOWN = 50


def build_own(user: User) -> dict[str, Any]:
    keys = ApiKey.objects.filter(owner=user).select_related("owner")
    newest = keys.order_by(F("revoked_at").desc(nulls_first=True), "-pk")[:SHOWN]
    rows = sorted(map(describe_key, newest), key=lambda row: not row.is_usable)
    return {"keys": rows, "graces": list(GRACES.items())}


def build_all(viewer: User, *, before: str) -> dict[str, Any]:
    """Return the newest keys of everybody, or those before a primary key."""
    rows = ApiKey.objects.select_related("owner")
    if before.isascii() and before.isdecimal() and len(before) <= 18:
        rows = keyset.rows_after(rows, ("-pk",), (int(before),))
    found, has_older = keyset.read_page(rows.order_by("-pk"), SHOWN)
    return {
        "tabs": team.list_tabs(viewer, "API keys"),
        "keys": [describe_key(key) for key in found],
        "older": found[-1].pk if has_older else None,
        "is_first": not before,
    }
