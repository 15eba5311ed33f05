"""Neutral symbols for the cards: reminders of a word, never depictions of it.

Each function draws white on black into a square of ``size`` pixels, with equal stroke widths.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from PIL import Image, ImageDraw

Pen = ImageDraw.ImageDraw
Box = tuple[float, float, float, float]


def draw_glyph(name: str, size: int) -> Image.Image:
    """Return the symbol as a mask of ``size`` × ``size`` pixels.

    Raises KeyError for an unknown name.
    """
    large = max(size, 8) * 4
    image = Image.new("L", (large, large))
    _GLYPHS[name](ImageDraw.Draw(image), float(large), max(2, round(large * 0.06)))
    return image.resize((size, size), Image.Resampling.LANCZOS)


def _square(s: float, inset: float) -> Box:
    return (s * inset, s * inset, s * (1 - inset), s * (1 - inset))


def _wave(pen: Pen, s: float, w: int, y: float) -> None:
    points = [
        (s * (0.12 + 0.76 * i / 40), s * (y + 0.055 * math.sin(i / 40 * 4 * math.pi)))
        for i in range(41)
    ]
    pen.line(points, fill=255, width=w, joint="curve")


def _waves(pen: Pen, s: float, w: int) -> None:
    for y in (0.32, 0.5, 0.68):
        _wave(pen, s, w, y)


def _veil(pen: Pen, s: float, w: int) -> None:
    pen.ellipse(_square(s, 0.14), outline=255, width=w)
    pen.line((s * 0.25, s * 0.75, s * 0.75, s * 0.25), fill=255, width=w)


def _rings(pen: Pen, s: float, w: int) -> None:
    pen.ellipse((s * 0.1, s * 0.28, s * 0.56, s * 0.74), outline=255, width=w)
    pen.ellipse((s * 0.44, s * 0.28, s * 0.9, s * 0.74), outline=255, width=w)


def _box(pen: Pen, s: float, w: int) -> None:
    pen.rounded_rectangle((s * 0.16, s * 0.34, s * 0.84, s * 0.84), s * 0.05, outline=255, width=w)
    pen.rounded_rectangle((s * 0.1, s * 0.18, s * 0.9, s * 0.38), s * 0.05, outline=255, width=w)


def _curtain(pen: Pen, s: float, w: int) -> None:
    pen.line((s * 0.12, s * 0.18, s * 0.88, s * 0.18), fill=255, width=w)
    for x in (0.2, 0.35, 0.5, 0.65, 0.8):
        pen.line((s * x, s * 0.2, s * x, s * 0.84), fill=255, width=w)


def _bars(pen: Pen, s: float, w: int) -> None:
    pen.ellipse(_square(s, 0.14), outline=255, width=w)
    pen.rectangle((s * 0.1, s * 0.42, s * 0.9, s * 0.58), fill=255)


def _triangle(pen: Pen, s: float, w: int) -> None:
    corners = [
        (s * 0.5, s * 0.16),
        (s * 0.9, s * 0.84),
        (s * 0.1, s * 0.84),
        (s * 0.5, s * 0.16),
        (s * 0.9, s * 0.84),
    ]
    pen.line(corners, fill=255, width=w, joint="curve")
    pen.line((s * 0.5, s * 0.4, s * 0.5, s * 0.62), fill=255, width=w)
    pen.ellipse((s * 0.46, s * 0.69, s * 0.54, s * 0.77), fill=255)


def _shield(pen: Pen, s: float, w: int) -> None:
    left = [(0.5, 0.12), (0.16, 0.24), (0.17, 0.5), (0.27, 0.7), (0.5, 0.88)]
    outline = [*left, *[(1 - x, y) for x, y in reversed(left[:-1])], left[1]]
    pen.line([(s * x, s * y) for x, y in outline], fill=255, width=w, joint="curve")


def _eye(pen: Pen, s: float, w: int) -> None:
    top = [
        (s * (0.08 + 0.84 * i / 30), s * (0.5 - 0.25 * math.sin(math.pi * i / 30)))
        for i in range(31)
    ]
    pen.line(
        [*top, *[(x, s - y) for x, y in reversed(top)], top[0]], fill=255, width=w, joint="curve"
    )
    pen.ellipse(_square(s, 0.39), outline=255, width=w)


def _hourglass(pen: Pen, s: float, w: int) -> None:
    for y in (0.14, 0.86):
        pen.line((s * 0.22, s * y, s * 0.78, s * y), fill=255, width=w)
    pen.line([(s * 0.28, s * 0.16), (s * 0.72, s * 0.84)], fill=255, width=w)
    pen.line([(s * 0.72, s * 0.16), (s * 0.28, s * 0.84)], fill=255, width=w)


def _zigzag(pen: Pen, s: float, w: int) -> None:
    points = [(0.1, 0.62), (0.28, 0.36), (0.42, 0.68), (0.58, 0.28), (0.72, 0.64), (0.9, 0.4)]
    pen.line([(s * x, s * y) for x, y in points], fill=255, width=w, joint="curve")


def _leaf(pen: Pen, s: float, w: int) -> None:
    side = [
        (s * (0.5 - 0.26 * math.sin(math.pi * i / 30)), s * (0.12 + 0.62 * i / 30))
        for i in range(31)
    ]
    pen.line(
        [*side, *[(s - x, y) for x, y in reversed(side)], side[0]], fill=255, width=w, joint="curve"
    )
    pen.line((s * 0.5, s * 0.3, s * 0.5, s * 0.9), fill=255, width=w)


def _cloud(pen: Pen, s: float, w: int) -> None:
    for box in ((0.1, 0.4, 0.5, 0.76), (0.28, 0.22, 0.7, 0.64), (0.5, 0.38, 0.9, 0.76)):
        pen.ellipse([s * edge for edge in box], outline=255, width=w)
    pen.rectangle((s * 0.28, s * 0.44, s * 0.72, s * 0.7), fill=0)
    pen.line((s * 0.28, s * 0.76 - w / 2, s * 0.72, s * 0.76 - w / 2), fill=255, width=w)


def _drop(pen: Pen, s: float, w: int) -> None:
    pen.arc((s * 0.22, s * 0.36, s * 0.78, s * 0.9), -25, 205, fill=255, width=w)
    pen.line(
        [(s * 0.255, s * 0.52), (s * 0.5, s * 0.1), (s * 0.745, s * 0.52)],
        fill=255,
        width=w,
        joint="curve",
    )


def _bubble(pen: Pen, s: float, w: int) -> None:
    pen.rounded_rectangle((s * 0.1, s * 0.18, s * 0.9, s * 0.7), s * 0.12, outline=255, width=w)
    pen.line(
        [(s * 0.3, s * 0.68), (s * 0.3, s * 0.88), (s * 0.5, s * 0.69)],
        fill=255,
        width=w,
        joint="curve",
    )


def _diamond(pen: Pen, s: float, w: int) -> None:
    corners = [(0.5, 0.1), (0.84, 0.5), (0.5, 0.9), (0.16, 0.5), (0.5, 0.1), (0.84, 0.5)]
    pen.line([(s * x, s * y) for x, y in corners], fill=255, width=w, joint="curve")


def _barred(pen: Pen, s: float, w: int) -> None:
    pen.ellipse(_square(s, 0.12), outline=255, width=w)
    pen.line((s * 0.3, s * 0.5, s * 0.7, s * 0.5), fill=255, width=w * 2)


_GLYPHS: dict[str, Callable[[Pen, float, int], None]] = {
    "bars": _bars,
    "barred": _barred,
    "box": _box,
    "bubble": _bubble,
    "cloud": _cloud,
    "curtain": _curtain,
    "diamond": _diamond,
    "drop": _drop,
    "eye": _eye,
    "hourglass": _hourglass,
    "leaf": _leaf,
    "rings": _rings,
    "shield": _shield,
    "triangle": _triangle,
    "veil": _veil,
    "waves": _waves,
    "zigzag": _zigzag,
}
