"""Harmless drawings, sorted into folders by their authors.

They are Debian's package openclipart-png (public domain, 130 MB). They say nothing about how well
any category of the taxonomy is recognised.
"""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path

from PIL import Image

from tests.missing import skip_unless_required

FOLDER = Path("/usr/share/openclipart/png")
FLAGS, PEOPLE = "signs_and_symbols/flags/", "people/"
# Thousands of near-identical icons, and drawings of every kind.
LEFT_OUT = ("computer/icons/", "shapes/jigsaw/", "unsorted/")
LARGEST = 20_000_000  # pixels; a few drawings are larger and slow to decode


def list_drawings() -> list[str]:
    """Return the drawings' paths; skip without them, or fail if REQUIRE_PICTURES=1."""
    paths = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.png"))
    if paths:
        return [path for path in paths if not path.startswith(LEFT_OUT)]
    skip_unless_required("openclipart-png is not installed", "REQUIRE_PICTURES")


def render(name: str) -> bytes | None:
    """Return a drawing on white as PNG; None for one that is too large."""
    # The header is read first, as Pillow refuses to open the largest ones.
    with open(FOLDER / name, "rb") as file:
        width, height = struct.unpack(">II", file.read(24)[16:])
    if width * height > LARGEST:
        return None
    with Image.open(FOLDER / name) as image:
        image.thumbnail((512, 512))
        drawing = image.convert("RGBA")
    flat = Image.new("RGB", drawing.size, "white")
    flat.paste(drawing, mask=drawing.getchannel("A"))
    content = io.BytesIO()
    flat.save(content, "PNG", compress_level=1)
    return content.getvalue()


def find_look(name: str) -> str:
    """Return the folder and first word of a name, which drawings of one series share."""
    folder, _, file = name.rpartition("/")
    return f"{folder}/{re.split(r'[0-9_.]', file)[0]}"
