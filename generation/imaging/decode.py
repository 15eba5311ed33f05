"""Decoding of untrusted bytes into the canonical rendition.

Pure functions, called in the child process; tests may call them directly.

People must see exactly what the classifiers judged. Every property that viewers may interpret
differently is removed here:

* The EXIF orientation is applied. Colours are converted to sRGB. Gamma and all other chunks are
  dropped.
* Only the first frame is kept: classifiers do not judge the others, so they are never shown.
* Transparency is merged with mid grey, on which black and white line art both stay visible. An
  image hidden under zero alpha is removed from all stored files.
* The pixels are encoded again, so no trailing bytes, comments, locations or profiles remain.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from generation.imaging import encode, metadata
from generation.imaging.colour import ProfileUse, to_srgb
from generation.imaging.original import Seen, build_original
from generation.imaging.rendition import (
    BLUR_SIDE,
    MAX_PIXELS,
    THUMBNAIL_SIDE,
    Blurred,
    Rendition,
    UnreadableImageError,
    check_bytes,
    find_shape_problem,
)

T = TypeVar("T")
GREY: Final = (128, 128, 128)
# Frames beyond this number are not counted; only the first frame is decoded.
MAX_FRAMES: Final = 10_000
# A progressive JPEG has about ten scans. Each scan of a big image costs as much as a baseline
# decode.
MAX_SCANS: Final = 100

_FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF")
_TYPES: Final = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png", "WEBP": "webp", "GIF": "gif"}
_ORIENTATION: Final = 0x0112
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_image(content: bytes) -> Rendition:
    """Return the canonical rendition of a JPEG, PNG, WebP or GIF.

    Raises UnreadableImageError, MemoryError, or OSError for faults of the machine.
    """
    check_bytes(content)
    return _guard(_decode, content)


def blur_image(content: bytes) -> Blurred:
    """Return a rendition as large and of the same type, made of a few of its pixels.

    Raises as ``decode_image``.
    """
    return _guard(_blur, content)


def _guard(read: Callable[[bytes], T], content: bytes) -> T:
    """Read an image, and turn the exceptions of Pillow into our own."""
    try:
        with warnings.catch_warnings():
            # Our own limits are stricter than those that Pillow warns about.
            warnings.simplefilter("ignore")
            return read(content)
    except (UnreadableImageError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise UnreadableImageError(
            "This is not a JPEG, PNG, WebP or GIF image.", code="unsupported"
        ) from None
    except Image.DecompressionBombError:
        raise UnreadableImageError(
            f"The image has more than {MAX_PIXELS // 1_000_000} megapixels.", code="too-many-pixels"
        ) from None
    except OSError as error:
        if error.errno is not None:  # from the operating system, not from Pillow
            raise
        raise UnreadableImageError("The image is damaged or incomplete.", code="broken") from error
    # Pillow raises SyntaxError, ValueError, struct.error and more on broken files.
    except Exception as error:
        raise UnreadableImageError("The image is damaged or incomplete.", code="broken") from error


def _decode(content: bytes) -> Rendition:
    with Image.open(io.BytesIO(content), formats=_FORMATS) as source:
        source_type = _TYPES[source.format or ""]
        _check_size(source.size)
        _check_structure(content, source_type)
        source.load()
        _check_size(source.size)
        notes = metadata.read_metadata(source)
        orientation = _read_orientation(source)
        canonical = _to_canonical(source)
        picture = canonical.picture
        turned = orientation in _UPRIGHT
        if turned:
            picture = picture.transpose(_UPRIGHT[orientation])
        untouched = (
            not turned
            and canonical.profile is not ProfileUse.APPLIED
            and picture.mode == source.mode
        )
        image_type, body = encode.encode_canonical(
            picture,
            source_type,
            lossless=source_type == "webp" and encode.is_lossless_webp(content),
            tables=_read_jpeg_tables(source) if untouched else None,
        )
        frames = _count_frames(source, content, source_type)
        original = build_original(
            source,
            content,
            Seen(
                source_type=source_type,
                orientation=orientation if turned else 1,
                profile=canonical.profile,
                # The second picture of a JPEG follows the first one's end, and is cut off.
                frames=1 if source_type == "jpeg" else frames,
                has_visible_alpha=canonical.has_visible_alpha,
            ),
        )
    small = encode.shrink_image(picture, THUMBNAIL_SIDE)
    pdq, quality = encode.compute_perceptual_hash(small)
    return Rendition(
        content=body,
        image_type=image_type,
        width=picture.width,
        height=picture.height,
        sha256=hashlib.sha256(body).hexdigest(),
        source_type=source_type,
        source_sha256=hashlib.sha256(content).hexdigest(),
        source_bytes=len(content),
        thumbnail=encode.encode_thumbnail(small),
        preview=encode.encode_preview(small),
        pdq=pdq,
        pdq_quality=quality,
        frames=frames,
        metadata=notes,
        original=original.content or None,
        original_problem=original.problem,
        differs=original.differs,
        views=original.views,
    )


def _blur(content: bytes) -> Blurred:
    with Image.open(io.BytesIO(content), formats=_FORMATS) as source:
        source_type = _TYPES[source.format or ""]
        _check_size(source.size)
        picture = source.convert("RGB")
    # Also of a tiny image, only an eighth is left.
    side = max(1, min(BLUR_SIDE, max(picture.size) // 8))
    few = encode.shrink_image(picture, side)
    smooth = few.resize(picture.size, Image.Resampling.BICUBIC)
    image_type, body = encode.encode_canonical(smooth, source_type, lossless=False, tables=None)
    return Blurred(content=body, image_type=image_type)


def _check_size(size: tuple[int, int]) -> None:
    if problem := find_shape_problem(*size):
        code, words = problem
        raise UnreadableImageError(f"The image {words}.", code=code)


def _check_structure(content: bytes, source_type: str) -> None:
    """Check what ``load()`` skips: checksums and end of a PNG, number of scans of a JPEG."""
    if source_type == "png":
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            image.verify()
    # In entropy-coded data 0xFF is followed by zero or a restart marker, so this counts real scans.
    elif source_type == "jpeg" and content.count(b"\xff\xda") > MAX_SCANS:
        raise UnreadableImageError(
            f"The image is built up in more than {MAX_SCANS} passes.", code="too-complex"
        )


def _read_orientation(source: Image.Image) -> int:
    """Return the EXIF orientation; 1 (upright) if it is missing or broken."""
    try:
        value = source.getexif().get(_ORIENTATION, 1)
        return value if isinstance(value, int) else 1
    # Pillow's EXIF reader raises many exception types; a broken tag means no rotation.
    except Exception:
        return 1


@dataclass(frozen=True, slots=True)
class _Canonical:
    """An L or RGB copy without alpha and info, and what was removed from it."""

    picture: Image.Image
    profile: ProfileUse
    has_visible_alpha: bool


def _to_canonical(source: Image.Image) -> _Canonical:
    image: Image.Image = source
    if image.mode.startswith("I"):
        # convert() would clip 16-bit samples at 255 instead of scaling them.
        samples = np.asarray(image).astype(np.uint32).clip(0, 65535)
        image = Image.fromarray(((samples * 255 + 32767) // 65535).astype(np.uint8))
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("RGB")
    elif image.mode in {"1", "LA", "La"}:
        image = image.convert("L")
    elif image.mode not in {"L", "RGB", "CMYK"}:
        image = image.convert("RGB")
    image, profile = to_srgb(image, source.info.get("icc_profile"))
    if image.mode not in {"L", "RGB"}:
        image = image.convert("RGB")
    has_visible_alpha = alpha is not None and alpha.getextrema() != (255, 255)
    if has_visible_alpha:
        ground = Image.new("RGB", image.size, GREY)
        ground.paste(image, mask=alpha)
        image = ground
    # A fresh image, because Pillow writes back what it finds in info (JPEG comments, PNG profiles).
    clean = image.copy()
    clean.info = {}
    return _Canonical(clean, profile, has_visible_alpha)


def _read_jpeg_tables(source: Image.Image) -> encode.JpegTables | None:
    """Return the quantisation tables of a JPEG source; None for other formats."""
    if not isinstance(source, JpegImagePlugin.JpegImageFile) or not source.quantization:
        return None
    return encode.JpegTables(source.quantization, JpegImagePlugin.get_sampling(source))


def _count_frames(source: Image.Image, content: bytes, source_type: str) -> int:
    """Return the number of frames, at least 1."""
    if source_type == "gif":
        return _count_gif_frames(content)
    # The number stated by the file; APNG has it in its header.
    return max(1, min(int(getattr(source, "n_frames", 1)), MAX_FRAMES))


def _count_gif_frames(content: bytes) -> int:
    """Count the image blocks of a GIF without decoding them.

    Pillow needs 50 µs per frame, and a file may have a million frames.
    """

    def table(flags: int) -> int:
        return 3 << ((flags & 7) + 1) if flags & 0x80 else 0

    def after_blocks(at: int) -> int:
        while at < len(content) and content[at]:
            at += content[at] + 1
        return at + 1

    frames, at = 0, 13 + table(content[10])
    while at + 10 < len(content) and frames < MAX_FRAMES:
        if content[at] == 0x2C:
            frames += 1
            at = after_blocks(at + 11 + table(content[at + 9]))
        elif content[at] == 0x21:
            at = after_blocks(at + 2)
        else:
            break
    return max(1, frames)
