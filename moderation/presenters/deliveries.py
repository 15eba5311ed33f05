"""Context of the list of webhook deliveries."""

from __future__ import annotations

from typing import Any

from generation.core.db import keyset
from moderation.models import Delivery

PAGE_SIZE = 50
ORDER = ("-pk",)


def build_list(*, status: str, before: str) -> dict[str, Any]:
    """Return the newest deliveries, or those before a primary key; all statuses if unknown."""
    chosen = status if status in Delivery.Status.values else ""
    rows = Delivery.objects.filter(status=chosen) if chosen else Delivery.objects.all()
    if before.isascii() and before.isdecimal() and len(before) <= 18:
        rows = keyset.rows_after(rows, ORDER, (int(before),))
    found, has_older = keyset.read_page(
        rows.order_by(*ORDER).select_related("request__api_key"), PAGE_SIZE
    )
    return {
        "deliveries": found,
        "status": chosen,
        "statuses": [("", "All"), *Delivery.Status.choices],
        "older": found[-1].pk if has_older else None,
        "is_first": not before,
    }
