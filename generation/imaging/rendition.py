"""Result type, errors and limits of the decoder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

MAX_BYTES: Final = 20 * 1024 * 1024
MAX_PIXELS: Final = 24_000_000
MAX_SIDE: Final = 8192  # pixels
MAX_ASPECT: Final = 20  # longer side to shorter side
THUMBNAIL_SIDE: Final = 512  # pixels, longer side
PREVIEW_SIDE: Final = 8  # a detector finds nothing at 8 pixels; at 16 it still finds faces
BLUR_SIDE: Final = PREVIEW_SIDE  # pixels of the longer side that a blurred image is made of

IMAGE_TYPES: Final = ("png", "jpeg", "webp")
SOURCE_TYPES: Final = ("png", "jpeg", "webp", "gif")
# Kinds of visible differences between original and rendition.
DIFFERENCES: Final = ("alpha", "animation", "colour", "depth")
# Pictures of what the rendition does not show.
VIEW_KINDS: Final = ("checkerboard", "white", "black", "opaque", "unmanaged", "frames")


class UnreadableImageError(Exception):
    """A refused image; ``str(error)`` is a message for people, ``code`` is stable.

    Codes: empty, too-many-bytes, unsupported, broken, too-many-pixels, too-elongated, too-complex,
    too-slow, crashed.
    """

    # A crash or a timeout may be a fault of the machine; all other codes are faults of the image.
    _RETRYABLE = frozenset({"too-slow", "crashed"})

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def retryable(self) -> bool:
        return self.code in self._RETRYABLE


class DecoderUnavailableError(RuntimeError):
    """The decoder could not be started or is overloaded; retry later.

    Says nothing about the image.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """The canonical image: classified, hashed, shown and stored."""

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
    pdq_quality: int  # 0..100; matches below 50 are not meaningful
    frames: int  # of the source; only the first one is kept
    metadata: dict[str, str] = field(default_factory=dict)
    # The received file without metadata, of source_type; None if it cannot be delivered.
    original: bytes | None = None
    original_problem: str = ""  # why there is none: a code of NotClearedError
    differs: tuple[str, ...] = ()  # of DIFFERENCES
    views: dict[str, bytes] = field(default_factory=dict)  # of VIEW_KINDS; WebP


@dataclass(frozen=True, slots=True, kw_only=True)
class Blurred:
    """An image as large as the rendition that shows only BLUR_SIDE pixels of it."""

    content: bytes  # the whole file
    image_type: str  # one of IMAGE_TYPES, that of the rendition


def find_shape_problem(width: int, height: int) -> tuple[str, str] | None:
    """Return the reason to refuse an image of this size, or None.

    As (code, words after "the image").
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
    """Check the size limits that need no decoder.

    Raises UnreadableImageError.
    """
    if not content:
        raise UnreadableImageError("The file is empty.", code="empty")
    if len(content) > MAX_BYTES:
        raise UnreadableImageError(
            f"The file is larger than {MAX_BYTES // 1024 // 1024} MiB.", code="too-many-bytes"
        )
