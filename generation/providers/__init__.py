"""Registry of image providers: maps slugs in ``settings.IMAGE_PROVIDERS`` to provider objects."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from django.conf import settings
from django.utils.module_loading import import_string

from generation.providers.base import ImageProvider


def list_labels() -> dict[str, str]:
    """Return slug and label of every configured provider, the default one first."""
    return {slug: entry["OPTIONS"]["label"] for slug, entry in settings.IMAGE_PROVIDERS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Prices and limits of a provider."""

    images_per_minute: int = 0  # 0: no limit
    image_price: Decimal = Decimal(0)  # USD
    detection_price: Decimal = Decimal(0)  # USD per image, added when detection is requested
    webhooks: bool = False  # whether the provider can call our webhook URL


def get_terms(slug: str) -> Terms:
    """Return the provider's terms; empty terms for a provider that is not configured."""
    entry = settings.IMAGE_PROVIDERS.get(slug, {})
    return Terms(**{name: entry[name] for name in Terms.__slots__ if name in entry})


@lru_cache
def get_provider(slug: str) -> ImageProvider:
    """Return the provider with this slug.

    Raises LookupError with a message if it is not configured.
    """
    try:
        entry = settings.IMAGE_PROVIDERS[slug]
    except KeyError:
        raise LookupError(f"The provider {slug} is not configured.") from None
    provider: ImageProvider = import_string(entry["BACKEND"])(slug=slug, **entry["OPTIONS"])
    return provider
