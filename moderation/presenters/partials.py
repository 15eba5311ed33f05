"""The parts of the desk that every decision renders, in a language that is compiled
(config/jinja.py).
"""

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
    return mark_safe(
        render_to_string(f"desk/{name}.html", dict(context), using="jinja2")
    )  # Jinja2 has escaped it.


def hidden(request: HttpRequest, queue: Queue | None) -> SafeString:
    """What every form of the desk carries: the token, and the queue that is being worked
    through.
    """
    # Made once: every form would mask the token anew.
    token = escape(_token(request))
    return mark_safe(
        f'<input type="hidden" name="csrfmiddlewaretoken" value="{token}">{_of_queue(queue)}'
    )


def _of_queue(queue: Queue | None) -> str:
    return f'<input type="hidden" name="queue" value="{escape(queue.key)}">' if queue else ""


def _token(request: HttpRequest) -> str:
    """The one that the script has sent, which has been checked; a new one would cost a cookie with
    every answer.
    """
    was_checked = request.method == "POST" and "csrfmiddlewaretoken" not in request.POST
    return (request.META.get("HTTP_X_CSRFTOKEN") if was_checked else None) or get_token(request)


def category_tree(chosen: Collection[str] = ()) -> SafeString:
    """All categories as the chooser offers them. The same for everybody and every image, so it is
    made once.
    """
    return _category_tree(frozenset(chosen))


@functools.lru_cache(maxsize=64)
def _category_tree(chosen: frozenset[str]) -> SafeString:
    return part("tree", {"tree": list(taxonomy.tree()), "chosen": chosen})
