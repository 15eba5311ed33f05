"""Generated images: gradients with soft noise."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

COUNT, SIDE = 8, 512


def make_picture(number: int) -> bytes:
    """Return a PNG of realistic size. Without noise it would compress to almost nothing."""
    random = np.random.default_rng(number)
    coarse = Image.fromarray(random.integers(0, 255, (5, 5, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.int16)
    pixels = np.clip(smooth + random.integers(-12, 12, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
