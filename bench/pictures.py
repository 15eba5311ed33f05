"""The few images that all assets of a benchmark share."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.files.base import ContentFile
from django.core.files.storage import storages

from bench.picture_bytes import COUNT, make_picture
from generation import imaging
from generation.core.storage import asset_name, thumbnail_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A stored image and the values that its rows need."""

    name: str
    thumbnail: str
    preview: str
    size: int


def store_pictures() -> list[Picture]:
    """Store the images as Loupe does, and return the values for their rows."""
    files = storages["assets"]
    found = []
    for number in range(COUNT):
        rendition = imaging.render(make_picture(number))
        name, thumbnail = (
            asset_name(rendition.sha256, rendition.image_type),
            thumbnail_name(rendition.sha256),
        )
        files.save(name, ContentFile(rendition.content))
        files.save(thumbnail, ContentFile(rendition.thumbnail))
        found.append(
            Picture(
                name=name,
                thumbnail=thumbnail,
                preview=rendition.preview,
                size=len(rendition.content),
            )
        )
    return found
