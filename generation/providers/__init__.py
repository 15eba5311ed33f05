"""The registry: slugs from ``settings.IMAGE_PROVIDERS`` to provider objects."""

from __future__ import annotations

from functools import lru_cache

from django.conf import settings
from django.utils.module_loading import import_string

from generation.providers.base import ImageProvider


def available() -> dict[str, str]:
    """Slug to label of every configured provider, the default one first."""
    return {slug: entry["OPTIONS"]["label"] for slug, entry in settings.IMAGE_PROVIDERS.items()}


@lru_cache
def get(slug: str) -> ImageProvider:
    """Return the provider, or raise LookupError with a sentence if its key was taken away since."""
    try:
        entry = settings.IMAGE_PROVIDERS[slug]
    except KeyError:
        raise LookupError(f"The provider {slug} is not configured (any more).") from None
    provider: ImageProvider = import_string(entry["BACKEND"])(slug=slug, **entry["OPTIONS"])
    return provider
