"""What comes out of the decoder, what does not, and the limits between the two."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

MAX_BYTES: Final = 20 * 1024 * 1024
MAX_PIXELS: Final = 24_000_000
MAX_SIDE: Final = 8192  # pixels
MAX_ASPECT: Final = 20  # longer side to shorter side
THUMBNAIL_SIDE: Final = 512  # pixels, longer side
PREVIEW_SIDE: Final = 8  # pixels; a detector finds nothing in it, at 16 it still finds faces

IMAGE_TYPES: Final = ("png", "jpeg", "webp")
SOURCE_TYPES: Final = ("png", "jpeg", "webp", "gif")


class UnreadableImageError(Exception):
    """The image is refused. ``str(error)`` is a sentence for people; ``code`` is stable and may be
    stored.

    Codes: empty, too-many-bytes, unsupported, broken, too-many-pixels, too-elongated, too-complex,
    too-slow, crashed.
    """

    # A crash or a time limit may be the machine's fault; the rest is the image's.
    _RETRYABLE = frozenset({"too-slow", "crashed"})

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def retryable(self) -> bool:
        return self.code in self._RETRYABLE


class DecoderUnavailableError(RuntimeError):
    """The decoder could not be started or is overloaded. Says nothing about the image: try again
    later.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """The canonical picture: the one that is classified, hashed and shown, and the only one that is
    kept.
    """

    content: bytes  # the whole file
    image_type: str  # one of IMAGE_TYPES
    width: int  # pixels, upright
    height: int
    sha256: str  # hex, of content
    source_type: str  # one of SOURCE_TYPES
    source_sha256: str
    source_bytes: int
    thumbnail: bytes  # WebP, longer side at most THUMBNAIL_SIDE
    preview: str  # data:image/webp;base64,… with a longer side of PREVIEW_SIDE pixels
    pdq: bytes | None  # 32 bytes; None for images too flat to have one
    pdq_quality: int  # 0..100; below 50 a match means nothing
    frames: int  # of the source; only the first one is kept
    metadata: dict[str, str] = field(default_factory=dict)


def shape_problem(width: int, height: int) -> tuple[str, str] | None:
    """Return what an image of this size would be refused for, as (code, words after "the image"),
    or None.
    """
    short, long = sorted((width, height))
    if short < 1:
        return "broken", "has no pixels"
    if long > MAX_SIDE or short * long > MAX_PIXELS:
        return (
            "too-many-pixels",
            f"has more than {MAX_PIXELS // 1_000_000} megapixels or a side above {MAX_SIDE} pixels",
        )
    if long > MAX_ASPECT * short:
        return "too-elongated", f"is more than {MAX_ASPECT} times as long as wide"
    return None


def check_bytes(content: bytes) -> None:
    """The limits that need no decoder. Raises Unreadable."""
    if not content:
        raise UnreadableImageError("The file is empty.", code="empty")
    if len(content) > MAX_BYTES:
        raise UnreadableImageError(
            f"The file is larger than {MAX_BYTES // 1024 // 1024} MiB.", code="too-many-bytes"
        )
