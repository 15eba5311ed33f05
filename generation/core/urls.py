"""Addresses of pages that name a row. Django looks a pattern up anew every time; a panel of the
desk has a dozen.
"""

from __future__ import annotations

from functools import cache
from uuid import UUID

from django.urls import reverse

_SOME = UUID(int=0xDECADE)


def address(name: str, what: UUID | str | None = None) -> str:
    """``reverse()`` for a page with one uuid or slug in its address, or with nothing."""
    if what is None:
        return _alone(name)
    before, after = _around(name)
    return f"{before}{what}{after}"


@cache
def _alone(name: str) -> str:
    return reverse(name)


@cache
def _around(name: str) -> tuple[str, str]:
    """What stands before the uuid, and behind it. A uuid is a slug, too."""
    before, _, after = reverse(name, args=[_SOME]).partition(str(_SOME))
    return before, after
