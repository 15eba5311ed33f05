"""Helpers for tests of the search."""

from __future__ import annotations

import html
import re
from typing import Any
from urllib.parse import urlencode

from django.test import Client

from moderation.models import Review


def get_search_page(client: Client, q: str = "", /, **fields: Any) -> Any:
    return client.get("/search/?" + urlencode({"q": q, **fields} if q else fields))


def list_result_ids(response: Any) -> list[str]:
    """Return the short IDs of the results, in order."""
    assert response.status_code == 200, response.content.decode()
    return re.findall(r'<span class="num">([0-9a-f]{8})</span> <time', response.content.decode())


def short_ids(*reviews: Review) -> list[str]:
    return [review.asset.short_id for review in reviews]


def read_text(response: Any) -> str:
    """Return the visible text of the page."""
    words = re.sub(r"<[^>]+>", " ", response.content.decode())
    return " ".join(html.unescape(words).split())
