"""Writing pixels out: the canonical file, the thumbnail, the blurred preview and the perceptual
hash.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pdqhash
from PIL import Image

from generation.imaging.rendition import PREVIEW_SIDE

_JPEG_QUALITY: Final = 92
_WEBP_QUALITY: Final = 90
# zlib's run-length strategy: after PNG's filters photo-like pixels hold no long matches to search
# for. As small as level 6 (1366 to 1298 kB for 1024 x 1024) in a fifth of the time.
_PNG_STRATEGY: Final = 3
_THUMBNAIL_QUALITY: Final = 75
# Method 2 is four times as fast as 6 for a tenth more bytes.
_WEBP_METHOD: Final = 2
_PREVIEW_QUALITY: Final = 50


@dataclass(frozen=True, slots=True)
class JpegTables:
    """How a JPEG was quantised. Encoding with the same tables loses next to nothing when no pixel
    moved.
    """

    quantization: Mapping[int, Sequence[int]]
    subsampling: int  # Pillow's number; -1 for a layout it cannot write


def canonical(
    picture: Image.Image, source_type: str, *, lossless: bool, tables: JpegTables | None
) -> tuple[str, bytes]:
    """Return the image type and the bytes. A source keeps its type, except GIF, which becomes
    PNG.
    """
    if source_type == "jpeg":
        return "jpeg", _jpeg(picture, tables)
    if source_type == "webp":
        return "webp", _webp(picture, lossless)
    return "png", _written(picture, "PNG", compress_type=_PNG_STRATEGY)


def _jpeg(picture: Image.Image, tables: JpegTables | None) -> bytes:
    if tables is not None:
        try:
            return _written(
                picture, "JPEG", qtables=dict(tables.quantization), subsampling=tables.subsampling
            )
        except (ValueError, TypeError, OSError):
            pass  # tables that can be read but not written; the ordinary quality is next
    return _written(picture, "JPEG", quality=_JPEG_QUALITY, subsampling=0)


def _webp(picture: Image.Image, lossless: bool) -> bytes:
    if not lossless:
        try:
            return _written(picture, "WEBP", quality=_WEBP_QUALITY, method=_WEBP_METHOD)
        except ValueError:
            # A big noisy picture overflows the lossy format's 16 MiB partition; lossless has no
            # such limit.
            pass
    return _written(picture, "WEBP", lossless=True, quality=0, method=0)


def is_lossless_webp(content: bytes) -> bool:
    """Whether the first image chunk of a WebP file is VP8L (page "WebP Container
    Specification").
    """
    at = 12
    while at + 8 <= len(content):
        name, length = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        if name in {b"VP8L", b"VP8 "}:
            return name == b"VP8L"
        # A frame's chunk holds 16 bytes of its own before the image chunk inside it.
        at += 24 if name == b"ANMF" else 8 + length + length % 2
    return False


def shrink(picture: Image.Image, side: int) -> Image.Image:
    """Return a copy whose longer side is at most ``side`` pixels; never enlarges."""
    small = picture.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return small


def thumbnail(small: Image.Image) -> bytes:
    return _written(small, "WEBP", quality=_THUMBNAIL_QUALITY, method=_WEBP_METHOD)


def preview(small: Image.Image) -> str:
    """Return a data: address of a few pixels, for the page to scale up. About 150 characters."""
    body = _written(
        shrink(small.convert("RGB"), PREVIEW_SIDE),
        "WEBP",
        quality=_PREVIEW_QUALITY,
        method=_WEBP_METHOD,
    )
    return "data:image/webp;base64," + base64.b64encode(body).decode("ascii")


def perceptual_hash(small: Image.Image) -> tuple[bytes | None, int]:
    """Return PDQ (32 bytes, first bit highest, as exchange lists write it) of the 512-pixel
    picture, and its quality.

    Always of that size: the hash of a smaller one lies 14 bits away. A flat picture has no hash,
    else all would match.
    """
    bits, quality = pdqhash.compute(np.ascontiguousarray(small.convert("RGB")))
    return (np.packbits(np.asarray(bits, dtype=np.uint8)).tobytes() if quality > 0 else None), int(
        quality
    )


def _written(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()
