"""Search over everything that was ever stored: words, ids, hashes, seeds, names, and pictures that
look alike.

``query`` reads what was typed, ``forms`` what else the address says, ``conditions`` what that asks
of an image, ``plan`` how it is answered in time, ``page`` what of it is shown.
"""

from __future__ import annotations

from moderation.search.forms import SearchForm
from moderation.search.page import Page, search

__all__ = ["Page", "SearchForm", "search"]
