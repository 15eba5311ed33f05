"""A picture as bytes: scene, card, tag, marker, file format. Same parameters, same bytes."""

from __future__ import annotations

import hashlib
import io
import json

import numpy as np
from PIL import Image

from generation.sandbox import cards, letters, marker, scenes
from generation.sandbox.scenes.canvas import Canvas
from generation.wire.txt2img import Request

_SAVE: dict[str, dict[str, int]] = {
    "png": {"compress_level": 1},  # grain hardly compresses; more effort only costs time
    "jpeg": {"quality": 90},
    "webp": {"quality": 88, "method": 2},
}


def render(request: Request, seed: int, position: int, image_type: str) -> bytes:
    """One image of a task: ``request.width`` × ``request.height`` pixels, as png, jpeg or webp."""
    image = paint(request, seed, position)
    buffer = io.BytesIO()
    image.save(buffer, image_type, **_SAVE[image_type])
    return buffer.getvalue()


def paint(request: Request, seed: int, position: int) -> Image.Image:
    """The picture in RGB, marked for people ("SANDBOX") and for programs (``marker``)."""
    labels = cards.on_image(cards.steer(request.prompt).labels, position)
    canvas = Canvas(request.width, request.height, _generator(request, seed, position))
    scenes.choose(request.prompt, seed + position)(canvas)
    image = canvas.finish()
    if labels:
        letters.card(image, labels)
    letters.tag(image)
    marker.draw(image, labels)
    return image


def _generator(request: Request, seed: int, position: int) -> np.random.Generator:
    """Randomness from everything that was asked for. Delivery (file type, detection) changes nothing in the picture."""
    asked = request.model_dump(mode="json", exclude={"seed", "image_num"})
    text = json.dumps([asked, seed, position], sort_keys=True)
    digest = hashlib.sha256(text.encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
