"""Conversion to sRGB by embedded colour profiles."""

from __future__ import annotations

import io
from enum import StrEnum
from typing import Final

from PIL import Image, ImageChops, ImageCms

# A profile that changes no sample by more than this counts as sRGB.
_SAME_COLOUR: Final = 2
_PROFILE_MODES: Final = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}


class ProfileUse(StrEnum):
    """Effect of the embedded profile on the colours."""

    NONE = "none"  # there is none
    SAME = "same"  # it means sRGB
    APPLIED = "applied"  # it changed the colours
    IGNORED = "ignored"  # it is broken or for another colour space


def to_srgb(image: Image.Image, icc: object) -> tuple[Image.Image, ProfileUse]:
    """Convert to sRGB by the embedded profile.

    A broken profile, or one of another colour space, is ignored, as browsers do.
    """
    if not isinstance(icc, bytes) or not icc:
        return image, ProfileUse.NONE
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        if _PROFILE_MODES.get(profile.profile.xcolor_space.strip()) != image.mode:
            return image, ProfileUse.IGNORED
        converted = ImageCms.profileToProfile(
            image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError):
        return image, ProfileUse.IGNORED
    if converted is None:
        return image, ProfileUse.IGNORED
    if image.mode != "CMYK":
        moved = ImageChops.difference(converted, image.convert("RGB")).getextrema()
        if all(isinstance(band, tuple) and band[1] <= _SAME_COLOUR for band in moved):
            return image, ProfileUse.SAME
    return converted, ProfileUse.APPLIED
