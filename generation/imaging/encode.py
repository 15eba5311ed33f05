"""Encoding of the output: canonical file, thumbnail, blurred preview and perceptual hash."""

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
# zlib's run-length strategy: after PNG's filters, photo-like pixels contain no long matches. Nearly
# as small as level 6 (1366 against 1298 kB for 1024 x 1024) in a fifth of the time.
_PNG_STRATEGY: Final = 3
_THUMBNAIL_QUALITY: Final = 75
# Method 2 is four times as fast as method 6; files are a tenth larger.
_WEBP_METHOD: Final = 2
# Method 0 takes half the time of method 2 and has the same error (40.9 dB PSNR against 40.6, mean
# of photographs and drawings); thumbnails are 15 % larger (12.5 kB).
_THUMBNAIL_METHOD: Final = 0
_PREVIEW_QUALITY: Final = 50


@dataclass(frozen=True, slots=True)
class JpegTables:
    """Quantisation tables and subsampling of a JPEG.

    Encoding unchanged pixels with the same tables loses almost nothing.
    """

    quantization: Mapping[int, Sequence[int]]
    subsampling: int  # Pillow's number; -1 for a layout it cannot write


def encode_canonical(
    picture: Image.Image, source_type: str, *, lossless: bool, tables: JpegTables | None
) -> tuple[str, bytes]:
    """Return the image type and the file.

    The type of the source is kept, except that GIF becomes PNG.
    """
    if source_type == "jpeg":
        return "jpeg", _encode_jpeg(picture, tables)
    if source_type == "webp":
        return "webp", _encode_webp(picture, lossless)
    return "png", save_to_bytes(picture, "PNG", compress_type=_PNG_STRATEGY)


def _encode_jpeg(picture: Image.Image, tables: JpegTables | None) -> bytes:
    if tables is not None:
        try:
            return save_to_bytes(
                picture, "JPEG", qtables=dict(tables.quantization), subsampling=tables.subsampling
            )
        except (ValueError, TypeError, OSError):
            pass  # Pillow read these tables but cannot write them: use the standard quality
    return save_to_bytes(picture, "JPEG", quality=_JPEG_QUALITY, subsampling=0)


def _encode_webp(picture: Image.Image, lossless: bool) -> bytes:
    if not lossless:
        try:
            return save_to_bytes(picture, "WEBP", quality=_WEBP_QUALITY, method=_WEBP_METHOD)
        except ValueError:
            # A large noisy image exceeds the 16 MiB partition of lossy WebP; lossless has no such
            # limit.
            pass
    return save_to_bytes(picture, "WEBP", lossless=True, quality=0, method=0)


def is_lossless_webp(content: bytes) -> bool:
    """Return whether the first image chunk of a WebP file is VP8L.

    Source: the page "WebP Container Specification".
    """
    at = 12
    while at + 8 <= len(content):
        name, length = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        if name in {b"VP8L", b"VP8 "}:
            return name == b"VP8L"
        # The header of a frame's chunk has 16 more bytes before the image chunk.
        at += 24 if name == b"ANMF" else 8 + length + length % 2
    return False


def shrink_image(picture: Image.Image, side: int) -> Image.Image:
    """Return a copy whose longer side is at most ``side`` pixels; never enlarge."""
    small = picture.copy()
    # Averages whole pixels first: 1.6 ms instead of 14.5 from 1024 to 512 pixels. The perceptual
    # hash stays the same.
    small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=1.0)
    return small


def encode_thumbnail(small: Image.Image) -> bytes:
    """Return the thumbnail as WebP."""
    return save_to_bytes(small, "WEBP", quality=_THUMBNAIL_QUALITY, method=_THUMBNAIL_METHOD)


def encode_preview(small: Image.Image) -> str:
    """Return a data: URL of a few pixels, about 150 characters; the page scales it up."""
    body = save_to_bytes(
        shrink_image(small.convert("RGB"), PREVIEW_SIDE),
        "WEBP",
        quality=_PREVIEW_QUALITY,
        method=_WEBP_METHOD,
    )
    return "data:image/webp;base64," + base64.b64encode(body).decode("ascii")


def compute_perceptual_hash(small: Image.Image) -> tuple[bytes | None, int]:
    """Return the PDQ hash of the 512-pixel image and its quality.

    32 bytes, first bit highest, as in exchange lists. Always computed at 512 pixels: the hash of a
    smaller size differs by 14 bits. A flat image has no hash, because all flat images would match.
    """
    bits, quality = pdqhash.compute(np.ascontiguousarray(small.convert("RGB")))
    return (np.packbits(np.asarray(bits, dtype=np.uint8)).tobytes() if quality > 0 else None), int(
        quality
    )


def save_to_bytes(image: Image.Image, file_format: str, **options: object) -> bytes:
    """Return the encoded file."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()
