"""Context of the pages about API keys: one's own, and all of them for operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db.models import F
from django.utils import timezone

from generation.core.db import keyset
from generation.models import ApiKey
from moderation.forms.api_keys import GRACES
from moderation.presenters import team

SHOWN = 50


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key with its state as a tone and a word."""

    key: ApiKey
    status: str
    word: str

    @property
    def is_usable(self) -> bool:
        return self.status == "succeeded"

    @property
    def is_replaced_recently(self) -> bool:
        until = self.key.previous_until
        return self.is_usable and until is not None and until > timezone.now()


def _describe(key: ApiKey) -> KeyRow:
    if key.revoked_at is not None:
        return KeyRow(key, "rejected", "Revoked")
    if key.expires_at is not None and key.expires_at <= timezone.now():
        return KeyRow(key, "cancelled", "Expired")
    if key.owner is not None and not key.owner.is_active:
        return KeyRow(key, "cancelled", "Owner deactivated")
    return KeyRow(key, "succeeded", "Works")


def build_own(user: User) -> dict[str, Any]:
    keys = ApiKey.objects.filter(owner=user).select_related("owner")
    newest = keys.order_by(F("revoked_at").desc(nulls_first=True), "-pk")[:SHOWN]
    rows = sorted(map(_describe, newest), key=lambda row: not row.is_usable)
    return {"keys": rows, "graces": list(GRACES.items())}


def build_all(viewer: User, *, before: str) -> dict[str, Any]:
    """Return the newest keys of everybody, or those before a primary key."""
    rows = ApiKey.objects.select_related("owner")
    if before.isascii() and before.isdecimal() and len(before) <= 18:
        rows = keyset.rows_after(rows, ("-pk",), (int(before),))
    found, has_older = keyset.read_page(rows.order_by("-pk"), SHOWN)
    return {
        "tabs": team.list_tabs(viewer, "API keys"),
        "keys": [_describe(key) for key in found],
        "older": found[-1].pk if has_older else None,
        "is_first": not before,
    }
