"""Removal of metadata from image files without encoding the pixels again.

Each filter copies the parts that it knows and drops known metadata. A file that a filter does not
fully understand raises NotClearedError; Loupe then delivers the rendition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from generation.imaging.strip.base import NotClearedError, Stripped
from generation.imaging.strip.gif import strip_gif
from generation.imaging.strip.jpeg import strip_jpeg
from generation.imaging.strip.png import strip_png
from generation.imaging.strip.webp import strip_webp

__all__ = ["NotClearedError", "Stripped", "strip_metadata"]

_FILTERS: Final[dict[str, Callable[[bytes, int], Stripped]]] = {
    "jpeg": strip_jpeg,
    "png": strip_png,
    "webp": strip_webp,
    "gif": strip_gif,
}


def strip_metadata(content: bytes, source_type: str, orientation: int) -> Stripped:
    """Return the file without location and personal metadata.

    ``orientation`` is the EXIF value that the rendition applied; the result states the same one.
    Raises NotClearedError.
    """
    try:
        return _FILTERS[source_type](content, orientation)
    # A length field that points behind the end of the file.
    except (IndexError, ValueError) as error:
        raise NotClearedError("structure") from error
