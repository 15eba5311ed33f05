"""Filters for dense pages."""

from __future__ import annotations

import functools
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING

from django import template
from django.template.loader import render_to_string
from django.utils import timezone

from generation import providers
from moderation import taxonomy
from moderation.models import Review
from moderation.screen.blindness import Shown, shown

if TYPE_CHECKING:
    from django.contrib.auth.models import User

register = template.Library()


@register.filter
def age(moment: datetime) -> str:
    """How long ago, in one unit: 42 s, 7 min, 5 h, 12 d."""
    seconds = max(0, int((timezone.now() - moment).total_seconds()))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


@register.filter
def shown_to(review: Review, user: User) -> Shown:
    """Its status, unless they hold it for a second opinion: {% with shown=review|shown_to:user %}."""
    return shown(review, user)


@register.filter
def provider_name(slug: str) -> str:
    """How people call a provider; its slug once it is no longer configured."""
    return providers.available().get(slug, slug)


@register.simple_tag
def category_tree(chosen: Collection[str] = ()) -> str:
    """All categories as the chooser offers them. The same for everybody and every image, so it is made once."""
    return _category_tree(frozenset(chosen))


@functools.lru_cache(maxsize=64)
def _category_tree(chosen: frozenset[str]) -> str:
    return render_to_string("moderation/_category_tree.html", {"tree": list(taxonomy.tree()), "chosen": chosen})
