"""Generated images: gradients with soft noise."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

COUNT, SIDE = 8, 512
PHOTO_SIDE = 1024


def make_picture(number: int) -> bytes:
    """Return a PNG of realistic size. Without noise it would compress to almost nothing."""
    random = np.random.default_rng(number)
    coarse = Image.fromarray(random.integers(0, 255, (5, 5, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.int16)
    pixels = np.clip(smooth + random.integers(-12, 12, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def make_photo(number: int) -> bytes:
    """Return a JPEG with the size and detail of a generated photo: about 250 kB."""
    random = np.random.default_rng(number)
    layers = np.zeros((PHOTO_SIDE, PHOTO_SIDE, 3), dtype=np.float32)
    for cells, strength in ((6, 0.7), (40, 0.2), (200, 0.1)):
        coarse = Image.fromarray(random.integers(0, 255, (cells, cells, 3), dtype=np.uint8))
        smooth = coarse.resize((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.BICUBIC)
        layers += strength * np.asarray(smooth, dtype=np.float32)
    layers += random.normal(0, 4, layers.shape).astype(np.float32)
    file = io.BytesIO()
    Image.fromarray(layers.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    return file.getvalue()
