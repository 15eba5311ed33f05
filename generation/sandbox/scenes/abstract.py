"""Compositions without a subject: marble, cut paper, Bauhaus posters, facets, flow lines."""

from __future__ import annotations

import math

import numpy as np
from PIL import ImageDraw

from generation.sandbox.scenes.canvas import Array, Canvas, lookup, ramp, rgb, smooth

Ink = tuple[int, int, int]

_MARBLES = (
    "0b1d33 14405c 2f7f8f a8d5c8 f4efdc d9a566 7a3b2e",
    "1a1423 4b2142 74384f a95c68 e8b4a0 fbeee0 d8cfe0",
    "f6f1e7 dcd6c8 9fb3a5 4f7a6d 1f3d3a 0f2226",
    "10101c 2b2d5b 5b5fc7 b7a7ee f7e6f0 f2a6a0 b84a62",
    "fbf3e4 f4c98b e0835a a8433f 4a1f3a 1d1230",
    "06141f 0d3a46 1f766e 8fd0bf f3f6e8 ecd59a b9803f",
)


def marble(canvas: Canvas) -> None:
    """Inks that have been drawn through one another, with fine gold veins."""
    table = ramp(canvas.pick(_MARBLES), 1024)
    fine = canvas.noise(3, octaves=4)
    scale = canvas.between(3.4, 5.2)
    x: Array = canvas.x * scale + 0.35 * (fine - 0.5)
    y: Array = canvas.y * scale + 0.35 * (fine - 0.5)
    # Each turn stirs the fluid at a finer scale.
    for turn in range(1, 5):
        x, y = (
            x + canvas.between(0.7, 1.1) / turn * np.sin(turn * 1.15 * y + canvas.between(0, 6.3)),
            y + canvas.between(0.7, 1.1) / turn * np.cos(turn * 1.15 * x + canvas.between(0, 6.3)),
        )
    flow = np.sin(0.9 * x + 0.5 * y)
    bend = np.cos(0.7 * y - 0.4 * x)
    value = (0.5 + 0.5 * np.sin(1.9 * flow + 1.3 * bend + canvas.between(0, 6.3))).astype(np.float32)
    canvas.pixels = lookup(table, np.clip(value * 0.92 + 0.1 * (fine - 0.5), 0, 1).astype(np.float32))
    # Light from the upper left turns the bands into folds.
    slope = np.gradient(value, axis=0) + np.gradient(value, axis=1)
    canvas.pixels *= (1 - np.clip(slope * canvas.unit * 0.02, -0.12, 0.12))[..., None].astype(np.float32)
    vein = np.exp(-(((flow - 0.35 * bend) / 0.02) ** 2)) * smooth(0.35, 0.7, fine)
    canvas.cover(rgb("e9c98f"), (vein * 0.85).astype(np.float32))


_PAPERS = (
    "f7e8d0 f2b880 e07a5f 9d4e5d 513b56 2a2340",
    "e8f1ee a9d6cf 5fa8a3 2f6f7e 1d4a60 10263b",
    "fff4e0 ffd6a5 ff9f80 e56b8a 9b4f96 47327a",
    "f3f0e6 cfd8b7 8fae7f 52805f 2b5748 16322f",
    "fbeff2 e4c1d3 b98bb5 7c5f9a 46407a 1f2350",
    "f6efe4 f0cf8e e39a4b b8532f 6d2c2a 2c1720",
)


def paper(canvas: Canvas) -> None:
    """Sheets of cut paper, one above the other, each throwing a soft shadow."""
    table = ramp(canvas.pick(_PAPERS))
    if canvas.rng.random() < 0.4:
        table = table[::-1]
    x, y = canvas.right * canvas.between(0.25, 0.75), canvas.bottom * canvas.between(0.25, 0.75)
    hole = canvas.distance(x, y) / max(canvas.right, canvas.bottom)
    field = 0.62 * canvas.noise(1.5, octaves=2, gain=0.35) + 0.75 * hole
    low, high = np.percentile(field[::8, ::8], (2, 98))
    field = ((field - low) / (high - low)).astype(np.float32)
    grain = canvas.noise(90, octaves=1) if canvas.unit > 256 else np.full_like(field, 0.5)
    canvas.pixels[:] = table[0]
    sheets = 8
    shift = max(1, int(canvas.unit * 0.014))
    shade = np.roll(field, (shift, shift), axis=(0, 1))
    shade[:shift], shade[:, :shift] = field[:shift], field[:, :shift]
    steepness = float(np.abs(np.gradient(field, axis=0)).mean()) or 1e-3
    for sheet in range(1, sheets):
        level = sheet / sheets
        shadow = smooth(level - 0.035, level + 0.035, shade)
        canvas.pixels *= (1 - 0.42 * shadow)[..., None]
        colour = table[int((len(table) - 1) * level)] * (0.985 + 0.03 * grain[..., None])
        canvas.cover(
            colour.astype(np.float32), np.clip((field - level) / (steepness * 1.4) + 0.5, 0, 1).astype(np.float32)
        )


_POSTERS = (
    ("f3ead8", "d8432f f0b429 1f4e79 16202c e9d9b6"),
    ("efe6dc", "e4572e 17bebb ffc914 2e282a 76b041"),
    ("f7f1e8", "264653 2a9d8f e9c46a f4a261 e76f51"),
    ("eae7e0", "2b2d42 8d99ae ef233c d9d4c7 f2c14e"),
    ("fdf3e7", "5f0f40 9a031e fb8b24 e36414 0f4c5c"),
    ("1b1f2a", "f25f5c ffe066 247ba0 70c1b3 f4f1ea"),
)


def bauhaus(canvas: Canvas) -> None:
    """A grid of quarter circles, discs, arches and stripes in a handful of flat colours."""
    ground, inks = _choose(canvas, _POSTERS)
    canvas.pixels[:] = rgb(ground)
    colours = [_ink(code) for code in inks.split()]
    short = int(canvas.rng.integers(3, 6))
    columns, rows = round(short * canvas.right), round(short * canvas.bottom)
    margin = 0.045
    cell_width, cell_height = (canvas.right - 2 * margin) / columns, (canvas.bottom - 2 * margin) / rows

    def paint(pen: ImageDraw.ImageDraw, scale: float) -> None:
        for row in range(rows):
            for column in range(columns):
                # Whole pixels, so that no hairline shows between neighbours.
                left, right = (round((margin + at * cell_width) * scale) for at in (column, column + 1))
                top, bottom = (round((margin + at * cell_height) * scale) for at in (row, row + 1))
                box = (left, top, right, bottom)
                _tile(canvas, pen, box, colours, _ink(ground))

    canvas.shapes(paint)
    canvas.pixels *= (0.985 + 0.03 * canvas.noise(60, octaves=2))[..., None]


def _tile(
    canvas: Canvas, pen: ImageDraw.ImageDraw, box: tuple[float, float, float, float], colours: list[Ink], ground: Ink
) -> None:
    left, top, right, bottom = box
    order = canvas.rng.permutation(len(colours))
    back, front, spot = (colours[int(index)] for index in order[:3])
    kind, turn = int(canvas.rng.integers(8)), int(canvas.rng.integers(4))
    width, height = right - left, bottom - top
    pen.rectangle(box, fill=ground if kind in (0, 6) else back)
    corner_x, corner_y = left if turn in (0, 3) else right, top if turn < 2 else bottom
    if kind in (0, 1, 2):  # quarter circles around one corner
        for share, ink in ((1.0, front), (0.62, spot if kind else back), (0.3, back if kind else ground))[: kind + 1]:
            reach = (width * share, height * share)
            circle = (corner_x - reach[0], corner_y - reach[1], corner_x + reach[0], corner_y + reach[1])
            pen.pieslice(circle, (0, 90, 180, 270)[turn], (90, 180, 270, 360)[turn], fill=ink)
    elif kind == 3:
        pen.ellipse(
            (left + width * 0.12, top + height * 0.12, right - width * 0.12, bottom - height * 0.12), fill=front
        )
        pen.ellipse((left + width * 0.34, top + height * 0.34, right - width * 0.34, bottom - height * 0.34), fill=spot)
    elif kind == 4:  # stripes
        for stripe in range(0, 8, 2):
            if turn % 2:
                pen.rectangle((left + width * stripe / 8, top, left + width * (stripe + 1) / 8, bottom), fill=front)
            else:
                pen.rectangle((left, top + height * stripe / 8, right, top + height * (stripe + 1) / 8), fill=front)
    elif kind == 5:  # an arch
        pen.pieslice((left, top, right, bottom), 180, 360, fill=front)
        pen.rectangle((left, top + height / 2, right, bottom), fill=front)
        pen.pieslice((left + width * 0.28, top + height * 0.28, right - width * 0.28, bottom), 180, 360, fill=spot)
        pen.rectangle((left + width * 0.28, top + height * 0.63, right - width * 0.28, bottom), fill=spot)
    elif kind == 6:
        pen.polygon([(left, bottom), (right, bottom), (corner_x, top)], fill=front)
    else:  # half and half
        pen.pieslice((left - width / 2, top, left + width / 2, bottom), 270, 90, fill=front)
        pen.pieslice((right - width / 2, top, right + width / 2, bottom), 90, 270, fill=spot)


_FACETS = (
    "14213d 274c77 6096ba a3cef1 f1e9da",
    "231942 5e548e 9f86c0 be95c4 f4dbe1",
    "0b3c49 13717a 5fb49c c8e6b8 fdf6d8",
    "3d1a2f 7f2f45 c8553d f28f3b ffd5a0",
    "101820 26404f 4f7d84 b0bfa9 f2e3bc",
    "1d2d44 3e5c76 748cab d8c7c0 f0a58f",
)


def facets(canvas: Canvas) -> None:
    """A folded surface of triangles, lit from one side."""
    table = ramp(canvas.pick(_FACETS))
    step = canvas.between(0.075, 0.13)
    columns, rows = math.ceil(canvas.right / step) + 3, math.ceil(canvas.bottom / step) + 3
    jitter = canvas.rng.uniform(-0.36, 0.36, (rows, columns, 2))
    grid = np.stack(np.meshgrid(np.arange(columns) - 1.0, np.arange(rows) - 1.0), axis=-1)
    points = (grid + jitter) * step
    direction = canvas.between(0, 2 * math.pi)
    wave = np.sin(points[..., 0] * 3.3 * math.cos(direction) + points[..., 1] * 3.3 * math.sin(direction))
    height = 0.35 * wave + canvas.rng.uniform(-0.5, 0.5, (rows, columns)) * 0.5
    centre = (canvas.right * canvas.between(0.2, 0.8), canvas.bottom * canvas.between(0.1, 0.7))
    reach = max(canvas.right, canvas.bottom)

    def paint(pen: ImageDraw.ImageDraw, scale: float) -> None:
        for row in range(rows - 1):
            for column in range(columns - 1):
                square = [(row, column), (row, column + 1), (row + 1, column + 1), (row + 1, column)]
                for corners in ((0, 1, 2), (0, 2, 3)) if (row + column) % 2 else ((0, 1, 3), (1, 2, 3)):
                    trio = [square[corner] for corner in corners]
                    outline = [(float(points[at][0]), float(points[at][1])) for at in trio]
                    x, y = (sum(part) / 3 for part in zip(*outline, strict=True))
                    near = 1 - math.hypot(x - centre[0], y - centre[1]) / reach
                    light = 0.34 * (height[trio[0]] - height[trio[2]]) + 0.16 * (height[trio[1]] - height[trio[2]])
                    index = int(np.clip(near * 0.86 + light, 0, 1) * (len(table) - 1))
                    ink = tuple(int(band * 255) for band in table[index])
                    pen.polygon([(px * scale, py * scale) for px, py in outline], fill=ink, outline=ink)

    canvas.shapes(paint)


_STREAMS = (
    ("f5efe2", "1d3557 457b9d e63946 f4a261 2a9d8f"),
    ("10131f", "7bdff2 b2f7ef f7d6e0 f2b5d4 eff7f6"),
    ("f2eadf", "3d405b e07a5f 81b29a f2cc8f 5f5b6b"),
    ("0d1b1e", "e3b23c edebd7 a39594 6e9887 c8553d"),
    ("1a1a2e", "ff6b6b feca57 48dbfb 1dd1a1 f5f6fa"),
    ("fbf7f0", "2b2d42 8d99ae d90429 ef233c edae49"),
)


def streams(canvas: Canvas) -> None:
    """Hundreds of ribbons that follow an unseen current."""
    ground, inks = _choose(canvas, _STREAMS)
    canvas.pixels[:] = rgb(ground)
    colours = [_ink(code) for code in inks.split()]
    count, steps, pace = int(330 * canvas.right * canvas.bottom), 46, 0.011
    waves = canvas.rng.uniform(-1, 1, (5, 4)) * np.array([2.6, 2.6, 3.2, 1.0])
    heading = canvas.between(0, 2 * math.pi)
    at = canvas.rng.uniform((-0.1, -0.1), (canvas.right + 0.1, canvas.bottom + 0.1), (count, 2))
    paths = np.empty((steps, count, 2))
    for step in range(steps):
        paths[step] = at
        angle = (
            heading + sum(wave[3] * np.sin(wave[0] * at[:, 0] + wave[1] * at[:, 1] + wave[2]) for wave in waves) * 1.15
        )
        at = at + pace * np.stack((np.cos(angle), np.sin(angle)), axis=1)
    chosen, widths = canvas.rng.integers(len(colours), size=count), canvas.rng.uniform(0.0022, 0.011, count)

    def paint(pen: ImageDraw.ImageDraw, scale: float) -> None:
        for index in range(count):
            length = int(12 + 34 * widths[index] / 0.011)
            line = [(float(x) * scale, float(y) * scale) for x, y in paths[:length, index]]
            thick, ink = max(1, round(float(widths[index]) * scale)), colours[int(chosen[index])]
            pen.line(line, fill=(*ink, 235), width=thick, joint="curve")
            for x, y in (line[0], line[-1]):
                pen.ellipse(
                    (x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), fill=colours[int(chosen[index])]
                )

    canvas.shapes(paint)


def _ink(code: str) -> Ink:
    red, green, blue = rgb(code)
    return round(red * 255), round(green * 255), round(blue * 255)


def _choose(canvas: Canvas, palettes: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    return palettes[int(canvas.rng.integers(len(palettes)))]
