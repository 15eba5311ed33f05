"""The registry: slugs from ``settings.IMAGE_PROVIDERS`` to provider objects."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from django.conf import settings
from django.utils.module_loading import import_string

from generation.providers.base import ImageProvider


def available() -> dict[str, str]:
    """Slug to label of every configured provider, the default one first."""
    return {slug: entry["OPTIONS"]["label"] for slug, entry in settings.IMAGE_PROVIDERS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What it costs to use a provider, and how much of it there is."""

    images_per_minute: int = 0  # 0: no limit
    image_price: Decimal = Decimal(0)  # USD
    detection_price: Decimal = Decimal(0)  # USD per image, added when detection is asked for
    webhooks: bool = False  # whether it can call us


def terms(slug: str) -> Terms:
    """The provider's terms; those of a provider that is not configured (any more) are empty."""
    entry = settings.IMAGE_PROVIDERS.get(slug, {})
    return Terms(**{name: entry[name] for name in Terms.__slots__ if name in entry})


@lru_cache
def get(slug: str) -> ImageProvider:
    """Return the provider, or raise LookupError with a sentence if its key was taken away since."""
    try:
        entry = settings.IMAGE_PROVIDERS[slug]
    except KeyError:
        raise LookupError(f"The provider {slug} is not configured (any more).") from None
    provider: ImageProvider = import_string(entry["BACKEND"])(slug=slug, **entry["OPTIONS"])
    return provider
