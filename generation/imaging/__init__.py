"""Safe decoding: ``render`` turns whatever came in into the one picture that Loupe keeps, or says
why not.

``decode`` holds the rules, ``encode`` the writing, ``child`` the process they run in, ``pool`` the
parent's side of it.
"""

from __future__ import annotations

from generation.imaging import pool
from generation.imaging.rendition import (
    MAX_BYTES,
    DecoderUnavailableError,
    Rendition,
    UnreadableImageError,
)

__all__ = ["MAX_BYTES", "DecoderUnavailableError", "Rendition", "UnreadableImageError", "render"]


def render(content: bytes) -> Rendition:
    """Decode untrusted bytes in a child process and return the canonical rendition.

    Raises Unreadable when the image is refused, within about 10 seconds whatever it holds, and
    DecoderUnavailable when no decoder can be had, which is no verdict on the image. Safe to call
    from many threads and after a fork.
    """
    return pool.render(content)
