"""Covers of thumbnails in lists, by the viewer's preference for the category."""

from __future__ import annotations

from django.utils.safestring import SafeString

from moderation.models import Preferences
from moderation.models.preferences import ImageCover
from moderation.presenters.partials import render_part


def render_cover(preferences: Preferences, l1: str, preview: str, thumbnail_url: str) -> SafeString:
    """Render a thumbnail. While it is blurred, only the 8-pixel preview is sent."""
    cover = preferences.cover_for(l1)
    return render_part(
        "cover",
        {
            "preview": preview,
            "thumbnail_url": thumbnail_url,
            "is_blurred": cover == ImageCover.BLUR,
            "is_grey": cover == ImageCover.GREY,
        },
    )
