"""Search over all stored images: words, ids, hashes, seeds, names and visual similarity.

``query`` parses the text, ``forms`` the other URL parameters, ``conditions`` express them as
database filters, ``plan`` and ``by_risk`` execute them in bounded time, and ``page`` builds the
results.
"""

from __future__ import annotations

from moderation.search.forms import SearchForm
from moderation.search.page import Page, list_all, run_search

__all__ = ["Page", "SearchForm", "list_all", "run_search"]
