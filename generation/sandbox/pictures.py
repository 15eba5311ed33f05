"""Rendering of a picture: background, card, tag, marker, file format.

Deterministic: the same parameters give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json

import numpy as np
import numpy.typing as npt
from PIL import Image

from generation.sandbox import backgrounds, cards, letters, marker
from generation.sandbox.backgrounds import Canvas
from generation.wire.txt2img import Request

_SAVE: dict[str, dict[str, int]] = {
    "png": {"compress_level": 1},  # grain hardly compresses, so a higher level only costs time
    "jpeg": {"quality": 90},
    "webp": {"quality": 88, "method": 2},
}


def render_picture(request: Request, seed: int, position: int, image_type: str) -> bytes:
    """Return one image of a task as png, jpeg or webp. See ``picture_size`` for its dimensions."""
    image = paint_picture(request, seed, position)
    buffer = io.BytesIO()
    image.save(buffer, image_type, **_SAVE[image_type])
    return buffer.getvalue()


def picture_size(request: Request) -> tuple[int, int]:
    """Return width and height of the image; with a hires fix these are its targets."""
    if request.hires_fix:
        return request.hires_fix.target_width, request.hires_fix.target_height
    return request.width, request.height


def paint_picture(request: Request, seed: int, position: int) -> Image.Image:
    """Return the RGB picture with the SANDBOX tag and the marker; RGBA if transparent.

    With a hires fix, the small picture is drawn first and then enlarged, as real providers do.
    """
    labels = cards.labels_on_image(cards.parse_steering(request.prompt).labels, position)
    canvas = Canvas(request.width, request.height, _make_generator(request, seed, position))
    backgrounds.choose_background(request.prompt, seed + position)(canvas)
    image = canvas.finish()
    if request.hires_fix:
        image = image.resize(picture_size(request), Image.Resampling.BICUBIC)
    if labels:
        letters.draw_card(image, labels)
    untagged = np.asarray(image)
    letters.draw_tag(image)
    marker.draw_marker(image, labels)
    if request.enable_transparent_background:
        image.putalpha(_make_alpha(image, untagged))
    return image


def _make_alpha(image: Image.Image, untagged: npt.NDArray[np.uint8]) -> Image.Image:
    """Return an alpha mask: an oval, the card, the tag and the marker stay opaque."""
    wide, tall = image.size
    x = np.linspace(-1, 1, wide, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, tall, dtype=np.float32)[:, None]
    oval = np.clip((1 - x * x - y * y) * 6, 0, 1) * 255
    written = (np.asarray(image) != untagged).any(axis=2)
    written[tall - marker.strip_height(image.size) :] = True
    return Image.fromarray(np.where(written, 255, oval).astype(np.uint8), "L")


def _make_generator(request: Request, seed: int, position: int) -> np.random.Generator:
    """Return a random generator seeded with all parameters that affect the picture.

    Delivery options (file type, detection) do not change the picture.
    """
    asked = request.model_dump(mode="json", exclude={"seed", "image_num"})
    text = json.dumps([asked, seed, position], sort_keys=True)
    digest = hashlib.sha256(text.encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
