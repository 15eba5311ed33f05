"""Stored renditions in a form that a remote service accepts, re-encoded in memory if need be."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from moderation.classifiers.base import ClassifierError, read_rendition

if TYPE_CHECKING:
    from generation.models import Asset

Accepts = Callable[[bytes, str], bool]  # content and media type, such as image/png
# Longer side in pixels and JPEG quality, tried in turn until the service accepts the image.
REDUCED_SIZES = ((4096, 90), (2048, 90), (1536, 85), (1024, 85))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sendable:
    """An image in the form in which it is sent."""

    content: bytes
    media_type: str
    altered: str = ""  # the change, if it is not the stored rendition byte for byte


def read_sendable(asset: Asset, accepts: Accepts) -> Sendable:
    """Return the stored rendition, or a JPEG of it that is small enough.

    Raises ImageUnavailableError if a later attempt may succeed, else ClassifierError.
    """
    content, media_type = read_rendition(asset), f"image/{asset.image_type}"
    if accepts(content, media_type):
        return Sendable(content=content, media_type=media_type)
    try:
        return _reduce(asset, content, accepts)
    except OSError:
        raise ClassifierError("The stored image could not be read.", retryable=True) from None


def _reduce(asset: Asset, content: bytes, accepts: Accepts) -> Sendable:
    """Return the largest JPEG that the service accepts. Raises OSError, ClassifierError."""
    with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as image:
        opaque = _flatten_on_white(image)
    for side, quality in REDUCED_SIZES:
        opaque.thumbnail((side, side), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        opaque.save(file, "JPEG", quality=quality)
        if accepts(file.getvalue(), "image/jpeg"):
            return Sendable(
                content=file.getvalue(),
                media_type="image/jpeg",
                altered=f"{asset.width} × {asset.height} {asset.image_type} sent as"
                f" {opaque.width} × {opaque.height} jpeg, quality {quality}",
            )
    raise ClassifierError("The image is too large for a call, even when it is reduced.")


def _flatten_on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    ground = Image.new("RGBA", layer.size, "white")
    ground.alpha_composite(layer)
    return ground.convert("RGB")
