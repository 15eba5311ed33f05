"""How a list shows an image: blurred, grey or as it is, as its viewer prefers for the category."""

from __future__ import annotations

from django.utils.safestring import SafeString

from moderation.models import Preferences
from moderation.models.preferences import ImageCover
from moderation.presenters.partials import part


def image_cover(preferences: Preferences, l1: str, preview: str, thumbnail_url: str) -> SafeString:
    """Render the small picture of a list. While it is blurred, only its few pixels are sent."""
    veil = preferences.cover_for(l1)
    return part(
        "cover",
        {
            "preview": preview,
            "thumbnail_url": thumbnail_url,
            "is_blurred": veil == ImageCover.BLUR,
            "is_grey": veil == ImageCover.GREY,
        },
    )
