"""Marker: a strip at the bottom of sandbox pictures that encodes their labels.

The sandbox's classifier reads it instead of guessing. It has 2 rows of 32 cells, one bit per cell:
12 bits magic number and version, 3 pairs of 5 bits card and 7 bits percent, 16 bits checksum. Bits
differ only in brightness and cells are at least 4 pixels wide, so they survive JPEG, WebP and
re-encoding. Card 31 means none.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from generation.sandbox.cards import BY_SLUG, CARDS, CARDS_PER_PICTURE

MAGIC = 0b1011_0100_1101  # version 1
ROWS, COLUMNS = 2, 32
_NO_CARD = 31
_BRIGHTER = 64  # brightness difference between 1 and 0, of 255
_READABLE = 30  # minimum contrast of a strip

assert len(CARDS) < _NO_CARD, "The marker has 5 bits for a card."


def strip_height(size: tuple[int, int]) -> int:
    """Return the strip's height in pixels for a picture of this (width, height)."""
    return ROWS * max(4, round(min(size) / 128))


def draw_marker(image: Image.Image, labels: Sequence[tuple[str, int]]) -> None:
    """Draw the strip into an RGB image, tinted like the image.

    ``labels``: up to 3 of (slug, 0..100).
    """
    width, tall = image.width, strip_height(image.size)
    above = image.crop((0, image.height // 2, width, image.height - tall))
    mean = np.asarray(above.resize((1, 1), Image.Resampling.BOX), dtype=np.float32)[0, 0]
    dark = mean * 0.16 + 14
    light = dark + _BRIGHTER * (0.82 + 0.36 * mean / max(float(mean.sum()), 1.0))
    columns = np.arange(width) * COLUMNS // width
    rows = np.arange(tall) * ROWS // tall
    cells = _encode_labels(labels)[rows[:, None], columns[None, :], None]
    strip = np.where(cells, light, dark)
    image.paste(
        Image.fromarray(np.clip(strip, 0, 255).astype(np.uint8), "RGB"), (0, image.height - tall)
    )


def read_marker(image: Image.Image) -> list[tuple[str, int]] | None:
    """Return the labels of a sandbox picture, which may be []; None for any other picture.

    Works on re-encoded copies, and on proportionally scaled copies while cells have about 2 pixels.
    """
    if image.width < COLUMNS or image.height < 16:
        return None  # too small to hold a strip
    nominal = strip_height(image.size)
    scaled = {max(2, round(ROWS * min(image.size) / 128)), 6, 4, 3, 2}
    for tall in (nominal, *sorted(scaled - {nominal}, reverse=True)):
        found = _decode_labels(_sample_cells(image, tall))
        if found is not None:
            return found
    return None


def _encode_labels(labels: Sequence[tuple[str, int]]) -> npt.NDArray[np.bool_]:
    """Return the strip's bits, shape (ROWS, COLUMNS)."""
    if len(labels) > CARDS_PER_PICTURE:
        raise ValueError(
            f"A picture can stand for {CARDS_PER_PICTURE} categories, not {len(labels)}."
        )
    word = MAGIC
    pairs = [(CARDS.index(BY_SLUG[slug]), percent) for slug, percent in labels]
    for card, percent in [*pairs, *[(_NO_CARD, 0)] * (CARDS_PER_PICTURE - len(pairs))]:
        if not 0 <= percent <= 100:
            raise ValueError(f"A confidence is 0 to 100, not {percent}.")
        word = word << 12 | card << 7 | percent
    word = word << 16 | _checksum(word)
    bits = [word >> place & 1 for place in reversed(range(ROWS * COLUMNS))]
    return np.array(bits, dtype=np.bool_).reshape(ROWS, COLUMNS)


def _sample_cells(image: Image.Image, tall: int) -> npt.NDArray[np.float32]:
    """Return the mean brightness of each cell's middle, row by row.

    ``tall`` is the assumed height of the strip in pixels.
    """
    box = (0, max(image.height - tall, 0), image.width, image.height)
    strip = np.asarray(image.crop(box).convert("L"), dtype=np.float32)
    lines = np.array_split(strip, ROWS)
    edges = np.linspace(0, image.width, COLUMNS + 1)
    starts = np.floor(edges[:-1] + np.diff(edges) * 0.25).astype(int)
    ends = np.maximum(np.ceil(edges[:-1] + np.diff(edges) * 0.75).astype(int), starts + 1)
    sums = [np.concatenate(([0.0], np.cumsum(_middle_rows(line).mean(axis=0)))) for line in lines]
    return np.concatenate(
        [(total[ends] - total[starts]) / (ends - starts) for total in sums]
    ).astype(np.float32)


def _middle_rows(line: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the middle half of a row of pixels, least affected by neighbouring rows."""
    margin = line.shape[0] // 4
    return line[margin : line.shape[0] - margin]


def _decode_labels(brightness: npt.NDArray[np.float32]) -> list[tuple[str, int]] | None:
    """Decode the labels from 64 brightness values; None if the strip is invalid."""
    known = np.array([MAGIC >> place & 1 for place in reversed(range(12))], dtype=np.bool_)
    ones, zeros = brightness[:12][known], brightness[:12][~known]
    if ones.min() - zeros.max() < _READABLE / 2 or ones.mean() - zeros.mean() < _READABLE:
        return None
    threshold = (float(ones.mean()) + float(zeros.mean())) / 2
    word = 0
    for bit in brightness > threshold:
        word = word << 1 | int(bit)
    body, checksum = word >> 16, word & 0xFFFF
    if body >> 36 != MAGIC or _checksum(body) != checksum:
        return None
    pairs = [(body >> shift + 7 & 31, body >> shift & 127) for shift in (24, 12, 0)]
    return [(CARDS[card].slug, min(percent, 100)) for card, percent in pairs if card < len(CARDS)]


def _checksum(word: int) -> int:
    return binascii.crc_hqx(word.to_bytes(6, "big"), 0xFFFF)
