"""Parts of the desk that every decision renders, as Jinja2 templates (config/jinja.py)."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from html import escape
from typing import Any

from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe

from moderation import taxonomy
from moderation.queues import Queue


def part(name: str, context: Mapping[str, Any]) -> SafeString:
    """Render ``templates/jinja2/desk/<name>.html``."""
    # Escaped by Jinja2.
    return mark_safe(render_to_string(f"desk/{name}.html", dict(context), using="jinja2"))


def hidden(request: HttpRequest, queue: Queue | None) -> SafeString:
    """Render the hidden fields of every form of the desk: CSRF token and queue."""
    # Rendered once per page: each form would mask the token again.
    token = escape(_token(request))
    return mark_safe(
        f'<input type="hidden" name="csrfmiddlewaretoken" value="{token}">{_of_queue(queue)}'
    )


def _of_queue(queue: Queue | None) -> str:
    return f'<input type="hidden" name="queue" value="{escape(queue.key)}">' if queue else ""


def _token(request: HttpRequest) -> str:
    """Return the CSRF token.

    A token that was checked in the header is reused: get_token would set a cookie on every
    response.
    """
    was_checked = request.method == "POST" and "csrfmiddlewaretoken" not in request.POST
    return (request.META.get("HTTP_X_CSRFTOKEN") if was_checked else None) or get_token(request)


def category_tree(chosen: Collection[str] = ()) -> SafeString:
    """Render all categories for the category chooser. Cached: it depends only on ``chosen``."""
    return _category_tree(frozenset(chosen))


@functools.lru_cache(maxsize=64)
def _category_tree(chosen: frozenset[str]) -> SafeString:
    return part("tree", {"tree": list(taxonomy.iter_tree()), "chosen": chosen})
