"""The original: the received file without metadata, which is delivered as made.

It is kept only if its structure is fully understood, and if people can see all that it shows.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final

import numpy as np
from PIL import Image

from generation.imaging import views
from generation.imaging.colour import ProfileUse
from generation.imaging.strip import NotClearedError, Stripped, strip_metadata
from generation.imaging.strip.base import require
from generation.imaging.views import FRAME_PIXELS_MAX, FRAMES_MAX

_VIEW_PIXELS_MAX: Final = 16_000_000  # of a still image that needs views


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """The file that may be delivered, or the reason why there is none."""

    content: bytes = b""
    problem: str = ""  # a code of NotClearedError
    differs: tuple[str, ...] = ()  # of rendition.DIFFERENCES
    views: dict[str, bytes] = field(default_factory=dict)  # kind to WebP


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Properties of the received file that decoding has found."""

    source_type: str
    orientation: int
    profile: ProfileUse
    frames: int
    has_visible_alpha: bool


def build_original(source: Image.Image, content: bytes, seen: Seen) -> Original:
    """Strip the file, compare the pixels and render the views. Never fails because of the file."""
    differs = _find_differences(source, seen)
    try:
        # First, because a file may have a million frames.
        require(seen.frames <= FRAMES_MAX, "too-many-frames")
        stripped = strip_metadata(content, seen.source_type, seen.orientation)
        if stripped.depth > 8:
            differs = (*differs, "depth")
        _check_limits(source, stripped, seen, differs)
        _check_indices(stripped)
        if stripped.content != content:
            _compare(source, stripped)
        shown = _render_views(stripped, differs)
    except NotClearedError as error:
        return Original(problem=error.code, differs=differs)
    except MemoryError:
        return Original(problem="too-large", differs=differs)
    # Pillow raises many exception types on files that it cannot read to the end.
    except Exception:
        return Original(problem="pixels", differs=differs)
    return Original(content=stripped.content, differs=differs, views=shown)


def _find_differences(source: Image.Image, seen: Seen) -> tuple[str, ...]:
    found = {
        "alpha": seen.has_visible_alpha,
        "animation": seen.frames > 1,
        # Without a profile, viewers convert CMYK in different ways.
        "colour": seen.profile is ProfileUse.APPLIED or source.mode == "CMYK",
    }
    return tuple(code for code, differs in found.items() if differs)


def _check_limits(
    source: Image.Image, stripped: Stripped, seen: Seen, differs: tuple[str, ...]
) -> None:
    """Refuse what nobody could see whole."""
    require(seen.profile is not ProfileUse.IGNORED, "colour")
    require(stripped.frames == seen.frames, "structure")
    pixels = source.width * source.height
    if "animation" in differs:
        require(stripped.frames * pixels <= FRAME_PIXELS_MAX, "too-large")
        # Colours under the transparency of a frame do not appear on the composed frames. A GIF has
        # one transparent colour, which can hide none.
        require(seen.source_type == "gif" or not stripped.has_alpha, "hidden-frames")
        # The sheet shows frames without their profile.
        require("colour" not in differs, "colour")
    elif differs and differs != ("depth",):
        require(pixels <= _VIEW_PIXELS_MAX, "too-large")


def _check_indices(stripped: Stripped) -> None:
    """Refuse pixels without a colour in the palette."""
    for frame in stripped.indexed:
        with Image.open(io.BytesIO(frame.content)) as image:
            require(image.mode in ("1", "L"), "pixels")
            brightest = int(np.asarray(image.convert("L")).max())
            highest = brightest * ((1 << frame.depth) - 1) // 255
            require(highest < frame.colours, "pixels")


def _compare(source: Image.Image, stripped: Stripped) -> None:
    """Check that filtering has changed no pixel."""
    with Image.open(io.BytesIO(stripped.content)) as copy:
        require((copy.mode, copy.size) == (source.mode, source.size), "pixels")
        require(copy.info.get("icc_profile") == source.info.get("icc_profile"), "pixels")
        if stripped.frames == 1:
            same = copy.tobytes() == source.tobytes() and _read_key(copy) == _read_key(source)
            require(same, "pixels")
            return
        pairs = zip_longest(
            views.iter_frames(source, stripped.frames), views.iter_frames(copy, stripped.frames)
        )
        require(all(one and one.tobytes() == other.tobytes() for one, other in pairs), "pixels")


def _read_key(image: Image.Image) -> tuple[object, object]:
    """Return the transparent colour and the palette."""
    palette = image.palette
    return image.info.get("transparency"), palette and palette.tobytes()


def _render_views(stripped: Stripped, differs: tuple[str, ...]) -> dict[str, bytes]:
    if not {"alpha", "animation", "colour"} & set(differs):
        return {}
    shown: dict[str, bytes] = {}
    with Image.open(io.BytesIO(stripped.content)) as image:
        if "animation" in differs:
            return views.render_frames(image, stripped.frames)
        if "alpha" in differs:
            shown |= views.render_alpha_views(image)
        elif "colour" in differs:
            shown |= views.render_unmanaged(image)
    return shown
