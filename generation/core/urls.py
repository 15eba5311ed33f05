"""URLs of pages for one object.

Django's ``reverse()`` resolves a pattern on every call; one panel of the desk has a dozen URLs.
"""

from __future__ import annotations

from functools import cache
from uuid import UUID

from django.urls import reverse

_SOME = UUID(int=0xDECADE)


def build_url(name: str, what: UUID | str | None = None) -> str:
    """Return the URL of a page with one UUID or slug in its path, or with none."""
    if what is None:
        return _reverse_plain(name)
    before, after = _split_around_target(name)
    return f"{before}{what}{after}"


@cache
def _reverse_plain(name: str) -> str:
    return reverse(name)


@cache
def _split_around_target(name: str) -> tuple[str, str]:
    """Return the URL's parts before and after the UUID. A UUID is a valid slug too."""
    before, _, after = reverse(name, args=[_SOME]).partition(str(_SOME))
    return before, after
