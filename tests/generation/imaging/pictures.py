"""Synthetic images and hostile files."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def picture(width: int = 96, height: int = 64, seed: int = 1) -> Image.Image:
    """Return coloured blobs with a little noise, so that no two parts are equal."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (max(2, height // 16), max(2, width // 16), 3), dtype=np.uint8)
    soft = np.asarray(
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    ).astype(np.float32)
    return Image.fromarray((soft + rng.normal(0, 3, soft.shape)).clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(
    width: int,
    height: int,
    *,
    rows: bytes | None = None,
    extra: bytes = b"",
    depth: int = 8,
    kind: int = 2,
) -> bytes:
    """Return a PNG built by hand; without ``rows`` it is black, which compresses 1000:1."""
    if rows is None:
        samples = {0: 1, 2: 3, 4: 2, 6: 4}[kind]
        rows = b"\0" * (height * (1 + width * samples * depth // 8))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + extra
        + chunk(b"IDAT", zlib.compress(rows, 9))
        + chunk(b"IEND", b"")
    )


def with_chunk(content: bytes, name: bytes, data: bytes) -> bytes:
    """Insert a chunk after the header of a PNG."""
    return content[:33] + chunk(name, data) + content[33:]


def gif_bomb(frames: int) -> bytes:
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x80, 0, 0) + bytes(6) + frame * frames + b";"
