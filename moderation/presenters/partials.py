"""Parts of pages as Jinja2 templates: what every decision renders, and charts (config/jinja.py)."""

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


def render_part(name: str, context: Mapping[str, Any], *, folder: str = "desk") -> SafeString:
    """Render ``templates/jinja2/<folder>/<name>.html``."""
    # Escaped by Jinja2.
    return mark_safe(render_to_string(f"{folder}/{name}.html", dict(context), using="jinja2"))


def render_hidden_fields(request: HttpRequest, queue: Queue | None) -> SafeString:
    """Render the hidden fields of every form of the desk: CSRF token and queue."""
    # Rendered once per page: each form would mask the token again.
    token = escape(_find_csrf_token(request))
    token_field = f'<input type="hidden" name="csrfmiddlewaretoken" value="{token}">'
    return mark_safe(token_field + _render_queue_field(queue))


def _render_queue_field(queue: Queue | None) -> str:
    return f'<input type="hidden" name="queue" value="{escape(queue.key)}">' if queue else ""


def _find_csrf_token(request: HttpRequest) -> str:
    """Return the CSRF token.

    A token that was checked in the header is reused: get_token would set a cookie on every
    response.
    """
    was_checked = request.method == "POST" and "csrfmiddlewaretoken" not in request.POST
    return (request.META.get("HTTP_X_CSRFTOKEN") if was_checked else None) or get_token(request)


def render_category_tree(chosen: Collection[str] = ()) -> SafeString:
    """Render all categories for the category chooser. Cached: it depends only on ``chosen``."""
    return _render_category_tree(frozenset(chosen))


@functools.lru_cache(maxsize=64)
def _render_category_tree(chosen: frozenset[str]) -> SafeString:
    return render_part("tree", {"tree": list(taxonomy.iter_tree()), "chosen": chosen})
