"""Filters for dense pages."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.utils import timezone

from generation import providers

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
def provider_name(slug: str) -> str:
    """How people call a provider; its slug once it is no longer configured."""
    return providers.available().get(slug, slug)
