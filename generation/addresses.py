"""Addresses of pages that name a row. Django looks a pattern up anew every time; a panel of the desk has a dozen."""

from __future__ import annotations

from functools import cache
from uuid import UUID

from django.urls import reverse

_SOME = UUID(int=0xDECADE)


def address(name: str, uuid: UUID | None = None) -> str:
    """``reverse()`` for a page with one uuid in its address, or with nothing."""
    before, after = _around(name, uuid is not None)
    return f"{before}{uuid}{after}" if uuid is not None else before


@cache
def _around(name: str, has_uuid: bool) -> tuple[str, str]:
    """What stands before the uuid, and behind it."""
    before, _, after = reverse(name, args=[_SOME] if has_uuid else []).partition(str(_SOME))
    return before, after
