"""Safe decoding of untrusted images: ``render`` returns the canonical rendition or an error.

``decode`` holds the rules, ``encode`` writes the files, ``child`` is the decoder process, ``pool``
controls it from the parent process.
"""

from __future__ import annotations

from generation.imaging import pool
from generation.imaging.rendition import (
    MAX_BYTES,
    Blurred,
    DecoderUnavailableError,
    Rendition,
    UnreadableImageError,
)

__all__ = [
    "MAX_BYTES",
    "Blurred",
    "DecoderUnavailableError",
    "Rendition",
    "UnreadableImageError",
    "blur",
    "render",
]


def render(content: bytes) -> Rendition:
    """Decode untrusted bytes in a child process and return the canonical rendition.

    Raises UnreadableImageError when the image is refused, within about 10 seconds for any content.
    Raises DecoderUnavailableError when no decoder is available, which says nothing about the image.
    Safe to call from several threads and after a fork.
    """
    return pool.render(content)


def blur(content: bytes) -> Blurred:
    """Blur a rendition in a child process. The same rendition always gives the same file.

    Raises as ``render``.
    """
    return pool.blur(content)
