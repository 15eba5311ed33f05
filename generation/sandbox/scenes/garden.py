"""Plants: a meadow of flowers, a botanical plate of ferns."""

from __future__ import annotations

import math

import numpy as np
from PIL import ImageDraw

from generation.sandbox.scenes.canvas import Canvas, rgb, smooth

Point = tuple[float, float]
Ink = tuple[int, int, int]

# paper from the top; greens; petals; heart of the flower
_MEADOWS = (
    ("fbe9d2 f9d5b5 f3b89c", "2f5d50 4f7f5f 7fa076 1f3f3a", "e4572e f2a65a f7d08a d1495b", "3b2a24"),
    ("dff0ee c3e3e0 9fcfc9", "1f5f5b 3f8f7a 74b494 124440", "f4f1de f2cc8f e07a5f ffffff", "c8803a"),
    ("eee3f5 d9c6ea bba4d6", "3a5a55 5f8070 8fa58a 273f45", "7b4fa0 b07cc6 e3b5dc 5a3f8f", "f2c14e"),
    ("12203a 1e3556 345078", "3f7f78 5fa08a 2a5a60 7fb89a", "ffd6e0 f7a8b8 fff1c9 c0d6ff", "f2c14e"),
    ("fdf4dc f8e3a1 f0c55f", "4a5f2a 6f8a3f 97ab5a 2f451f", "ffffff fdf0d5 f4845f ee6352", "7a4a1f"),
)


def meadow(canvas: Canvas) -> None:
    """Flowers on curved stems before a soft sky, smaller and paler the further away."""
    paper, greens, petals, heart = _choose(canvas, _MEADOWS)
    canvas.sky(paper)
    away = canvas.distance(canvas.right * canvas.between(0.3, 0.7), canvas.bottom * canvas.between(0.28, 0.5))
    radius = canvas.between(0.2, 0.32)
    canvas.glow((1.0, 0.95, 0.85), canvas.disc(away, radius) * 0.3)
    stems, blooms = [_ink(code) for code in greens.split()], [_ink(code) for code in petals.split()]
    sky = _ink(paper.split()[1])
    rows = 4

    def paint(pen: ImageDraw.ImageDraw, scale: float) -> None:
        for row in range(rows):
            near = (row + 1) / rows
            count = int((17 - 7 * near) * canvas.right)
            for place in canvas.rng.permutation(count):
                x = canvas.right * (place + canvas.between(0.1, 0.9)) / count
                tall = canvas.bottom * (0.26 + 0.42 * (1 - near) ** 0.7 + canvas.between(-0.08, 0.16))
                stem = _fade(_pick(canvas, stems), sky, 0.62 * (1 - near))
                bloom = _fade(_pick(canvas, blooms), sky, 0.55 * (1 - near))
                head = _stem(canvas, pen, scale, (x, canvas.bottom + 0.02), tall, stem, 0.4 + 0.6 * near)
                size = (0.024 + 0.046 * near) * canvas.between(0.75, 1.25)
                _flower(
                    canvas,
                    pen,
                    (head[0] * scale, head[1] * scale),
                    size * scale,
                    bloom,
                    _fade(_ink(heart), sky, 0.4 * (1 - near)),
                )

    canvas.shapes(paint)


def _stem(
    canvas: Canvas, pen: ImageDraw.ImageDraw, scale: float, foot: Point, tall: float, ink: Ink, size: float
) -> Point:
    """Draw a bent stem with leaves; return where it ends, in units."""
    lean, bend = canvas.between(-0.12, 0.12), canvas.between(-0.09, 0.09)
    share = np.linspace(0, 1, 22)
    xs = foot[0] + lean * share**1.4 + bend * np.sin(share * math.pi)
    ys = foot[1] - tall * share
    line = [(float(x) * scale, float(y) * scale) for x, y in zip(xs, ys, strict=True)]
    pen.line(line, fill=ink, width=max(1, round(0.0058 * size * scale)), joint="curve")
    for at in range(4, 19, 3):
        side = 1 if (at // 3) % 2 else -1
        angle = -math.pi / 2 + side * canvas.between(0.6, 1.15)
        _leaf(pen, line[at], canvas.between(0.045, 0.085) * size * scale, angle, ink, 0.24)
    return float(xs[-1]), float(ys[-1])


def _leaf(pen: ImageDraw.ImageDraw, at: Point, length: float, angle: float, ink: Ink, slim: float) -> None:
    share = np.linspace(0, 1, 9)
    out = np.sin(share * math.pi) ** 0.8 * slim * length
    along, side = share * length, np.concatenate((out, -out[::-1]))
    ahead = np.concatenate((along, along[::-1]))
    cos, sin = math.cos(angle), math.sin(angle)
    outline = [
        (at[0] + a * cos - s * sin, at[1] + a * sin + s * cos)
        for a, s in zip(ahead.tolist(), side.tolist(), strict=True)
    ]
    pen.polygon(outline, fill=ink)


def _flower(canvas: Canvas, pen: ImageDraw.ImageDraw, at: Point, size: float, ink: Ink, heart: Ink) -> None:
    """Daisy, tulip or umbel, by chance."""
    kind = canvas.rng.random()
    turn = canvas.between(0, 2 * math.pi)
    if kind < 0.5:
        count = int(canvas.rng.integers(8, 15))
        for ring, tone in ((1.0, 0.88), (0.72, 1.06)):
            for petal in range(count):
                angle = turn + 2 * math.pi * (petal + (ring < 1) / 2) / count
                _leaf(pen, at, size * ring, angle, _tone(ink, tone), 0.2)
        _dot(pen, at, size * 0.26, heart)
        _dot(pen, (at[0] - size * 0.05, at[1] - size * 0.06), size * 0.15, _tone(heart, 1.35))
    elif kind < 0.75:
        for angle, tone in ((-2.05, 0.84), (-1.09, 0.84), (-1.82, 0.96), (-1.32, 0.96), (-1.57, 1.08)):
            _leaf(pen, (at[0], at[1] + size * 0.55), size * 1.35, angle, _tone(ink, tone), 0.25)
    else:
        for ray in range(11):
            angle = -math.pi / 2 + (ray - 5) * 0.27
            tip = (at[0] + size * 1.1 * math.cos(angle), at[1] + size * 1.1 * math.sin(angle))
            pen.line((at, tip), fill=_tone(ink, 0.72), width=max(1, round(size * 0.035)))
            _dot(pen, tip, size * canvas.between(0.13, 0.22), _tone(ink, canvas.between(0.9, 1.1)))


_PLATES = (
    ("f4ecdc", "24483e 3f6f57 6f8f5f", "c8553d"),
    ("e9efe6", "1d4a4f 2f7a6f 5f9f7f", "e0a458"),
    ("17231f", "7fae8a a9c9a0 d8e3bf", "e9b872"),
    ("f7e6df", "5a2a3a 8a4a54 b0746a", "e9c46a"),
    ("dfe9f0", "1f3a5a 3a6280 6f94a8", "f2a65a"),
    ("231a2b", "c58fb0 e3b9c6 8f6f9f", "f4d6a0"),
)


def ferns(canvas: Canvas) -> None:
    """Fronds that unroll over a sheet of paper, as on an old botanical plate."""
    paper, greens, accent = _choose(canvas, _PLATES)
    canvas.pixels[:] = rgb(paper)
    wash = smooth(0.3, 0.9, canvas.noise(1.4, octaves=4))
    canvas.cover(rgb(greens.split()[-1]), (wash * 0.16).astype(np.float32))
    away = canvas.distance(canvas.right * canvas.between(0.3, 0.7), canvas.bottom * canvas.between(0.25, 0.5))
    canvas.cover(rgb(accent), canvas.disc(away, canvas.between(0.15, 0.24)) * 0.85)
    inks, ground = [_ink(code) for code in greens.split()], _ink(paper)
    count = max(5, int(7 * canvas.right))

    def paint(pen: ImageDraw.ImageDraw, scale: float) -> None:
        for layer, pale in enumerate((0.55, 0.28, 0.0)):
            for place in canvas.rng.permutation(count):
                x = canvas.right * (place + canvas.between(-0.1, 1.1)) / count
                tall = canvas.bottom * canvas.between(0.5, 0.85) * (1.08 - 0.24 * layer)
                ink = _fade(_pick(canvas, inks), ground, pale)
                _frond(canvas, pen, (x * scale, (canvas.bottom + 0.03) * scale), tall * scale, ink)

    canvas.shapes(paint)


def _frond(canvas: Canvas, pen: ImageDraw.ImageDraw, foot: Point, tall: float, ink: Ink) -> None:
    lean = canvas.between(-0.5, 0.5)
    curl = canvas.between(0.5, 1.7) * (1 if lean > 0 else -1)
    x, y = foot
    angle = -math.pi / 2 + lean * 0.35
    steps, line = 40, [foot]
    kind = canvas.rng.random()
    slim, reach = (0.055, 0.25) if kind < 0.6 else (0.16, 0.2)
    for step in range(steps):
        share = step / steps
        angle += curl * share**1.5 / steps * 2.2
        x, y = x + math.cos(angle) * tall / steps, y + math.sin(angle) * tall / steps
        line.append((x, y))
        if share > 0.12 and (kind < 0.6 or step % 2):
            length = tall * reach * math.sin(math.pi * min(share * 0.92 + 0.1, 1)) ** 0.8 + tall * 0.012
            for side in (-1, 1):
                _leaf(pen, (x, y), length, angle + side * (1.25 - 0.5 * share), _tone(ink, 1 + 0.07 * side), slim)
    pen.line(line, fill=_tone(ink, 0.8), width=max(1, round(tall * 0.008)), joint="curve")


def _dot(pen: ImageDraw.ImageDraw, at: Point, radius: float, ink: Ink) -> None:
    pen.ellipse((at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius), fill=ink)


def _ink(code: str) -> Ink:
    red, green, blue = rgb(code)
    return round(red * 255), round(green * 255), round(blue * 255)


def _tone(ink: Ink, by: float) -> Ink:
    red, green, blue = (min(round(band * by), 255) for band in ink)
    return red, green, blue


def _fade(ink: Ink, into: Ink, share: float) -> Ink:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(ink, into, strict=True))
    return red, green, blue


def _pick(canvas: Canvas, inks: list[Ink]) -> Ink:
    return inks[int(canvas.rng.integers(len(inks)))]


def _choose(canvas: Canvas, palettes: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    return palettes[int(canvas.rng.integers(len(palettes)))]
