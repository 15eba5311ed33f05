"""Pictures made on the spot: gradients under soft noise."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

COUNT, SIDE = 8, 512


def content(number: int) -> bytes:
    """A PNG of about the weight of a real one: what has no noise in it compresses to nothing."""
    random = np.random.default_rng(number)
    coarse = Image.fromarray(random.integers(0, 255, (5, 5, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.int16)
    pixels = np.clip(smooth + random.integers(-12, 12, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
