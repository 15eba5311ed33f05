"""Views of what the rendition does not show: transparency, colours under it, further frames.

Rendered from the file that is delivered, so people see what it can show. The kinds are those of
``rendition.VIEW_KINDS``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from PIL import Image

from generation.imaging.colour import to_srgb
from generation.imaging.encode import save_to_bytes, shrink_image

VIEW_SIDE: Final = 2048  # pixels, longer side
FRAMES_MAX: Final = 32
FRAME_SIDE: Final = 360  # pixels, longer side of a frame on the sheet of frames
# All frames together. Decoding and shrinking take about a second of processor time.
FRAME_PIXELS_MAX: Final = 64_000_000
_QUALITY: Final = 80
_METHOD: Final = 2
_SQUARE: Final = 16  # pixels of the checkerboard
_LIGHT, _DARK = (204, 204, 204), (153, 153, 153)


def render_alpha_views(image: Image.Image) -> dict[str, bytes]:
    """Return the image on three grounds, and its colours without the transparency."""
    rgba = image.convert("RGBA")
    alpha = rgba.getchannel("A")
    raw = rgba.convert("RGB")
    managed, _ = to_srgb(raw, image.info.get("icc_profile"))
    grounds = {
        "checkerboard": _make_checkerboard(image.size),
        "white": Image.new("RGB", image.size, (255, 255, 255)),
        "black": Image.new("RGB", image.size, (0, 0, 0)),
    }
    for ground in grounds.values():
        ground.paste(managed, mask=alpha)
    return {kind: _encode(ground) for kind, ground in grounds.items()} | {"opaque": _encode(raw)}


def render_unmanaged(image: Image.Image) -> dict[str, bytes]:
    """Return the colours as a viewer shows them that ignores the profile."""
    return {"unmanaged": _encode(image.convert("RGB"))}


def render_frames(image: Image.Image, frames: int) -> dict[str, bytes]:
    """Return one sheet with every frame, in rows."""
    columns = math.ceil(math.sqrt(frames))
    scale = min(1.0, FRAME_SIDE / max(image.size))
    wide, tall = (max(1, round(side * scale)) for side in image.size)
    sheet = Image.new("RGB", (columns * wide, math.ceil(frames / columns) * tall), _DARK)
    for number, frame in enumerate(iter_frames(image, frames)):
        ground = _make_checkerboard(frame.size)
        ground.paste(frame.convert("RGB"), mask=frame.getchannel("A"))
        cell = ground.resize((wide, tall), Image.Resampling.LANCZOS, reducing_gap=2.0)
        sheet.paste(cell, (number % columns * wide, number // columns * tall))
    return {"frames": save_to_bytes(sheet, "WEBP", quality=_QUALITY, method=_METHOD)}


def iter_frames(image: Image.Image, frames: int) -> Iterator[Image.Image]:
    """Yield every frame as RGBA, as a viewer composes them."""
    for number in range(frames):
        image.seek(number)
        yield image.convert("RGBA")


def _make_checkerboard(size: tuple[int, int]) -> Image.Image:
    board = Image.new("RGB", (2 * _SQUARE, 2 * _SQUARE), _LIGHT)
    for at in ((0, 0), (_SQUARE, _SQUARE)):
        board.paste(_DARK, (*at, at[0] + _SQUARE, at[1] + _SQUARE))
    row = Image.new("RGB", (size[0], 2 * _SQUARE))
    for left in range(0, size[0], 2 * _SQUARE):
        row.paste(board, (left, 0))
    ground = Image.new("RGB", size)
    for top in range(0, size[1], 2 * _SQUARE):
        ground.paste(row, (0, top))
    return ground


def _encode(image: Image.Image) -> bytes:
    small = shrink_image(image, VIEW_SIDE)
    return save_to_bytes(small, "WEBP", quality=_QUALITY, method=_METHOD)
