"""Procedural backgrounds of sandbox pictures: layers of hills or paper, marble, lights.

Colour is float32 RGB, 0..1, shape (height, width, 3). Lengths are fractions of the shorter side, so
that a background looks the same at every size. All randomness comes from the picture's own
generator: same seed, same picture.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Array = npt.NDArray[np.floating[Any]]
Background = Callable[["Canvas"], None]


class Canvas:
    """A picture in progress: pixels, pixel coordinates and random generator."""

    def __init__(self, width: int, height: int, rng: np.random.Generator) -> None:
        self.width, self.height, self.rng = width, height, rng
        self.unit = float(min(width, height))  # pixels
        self.x: Array = ((np.arange(width, dtype=np.float32) + 0.5) / self.unit)[None, :]
        self.y: Array = ((np.arange(height, dtype=np.float32) + 0.5) / self.unit)[:, None]
        self.right, self.bottom = width / self.unit, height / self.unit
        self.pixels: Array = np.zeros((height, width, 3), dtype=np.float32)

    def between(self, low: float, high: float) -> float:
        """Return a random number between ``low`` and ``high``."""
        return float(self.rng.uniform(low, high))

    def pick_palette(self, palettes: str) -> Array:
        """Return a random palette (one per line) as a table of shape (1024, 3)."""
        lines = palettes.strip().splitlines()
        return make_palette(lines[int(self.rng.integers(len(lines)))])

    def noise(self, scale: float, octaves: int = 4) -> Array:
        """Return cloudy noise 0..1, shape (height, width), with ``scale`` features per unit."""
        total, weight = np.zeros((self.height, self.width), dtype=np.float32), 0.0
        for octave in range(octaves):
            frequency = scale * 2**octave
            shape = (
                max(2, round(self.bottom * frequency) + 1),
                max(2, round(self.right * frequency) + 1),
            )
            if shape[0] > self.height or shape[1] > self.width:
                break
            grid = Image.fromarray(self.rng.random(shape, dtype=np.float32), "F")
            layer = grid.resize((self.width, self.height), Image.Resampling.BICUBIC)
            total += np.asarray(layer) * 0.5**octave
            weight += 0.5**octave
        clouds: Array = np.clip(total / max(weight, 1e-6), 0, 1).astype(np.float32)
        return clouds

    def edge(self, scale: float, octaves: int) -> Array:
        """Return noise 0..1 along the width, shape (width,), with ``scale`` features per unit."""
        total, weight = np.zeros(self.width, dtype=np.float32), 0.0
        for octave in range(octaves):
            place = self.x[0] * scale * 2**octave
            index = place.astype(np.intp)
            knots = self.rng.random(int(index[-1]) + 2, dtype=np.float32)
            share = smoothstep(0, 1, place - index)
            total += (knots[index] * (1 - share) + knots[index + 1] * share) * 0.5**octave
            weight += 0.5**octave
        return (total / weight).astype(np.float32)

    def fill_sky(self, palette: Array, until: float) -> None:
        """Fill with a gradient from the top to ``until`` (units)."""
        self.pixels[:] = look_up(palette, self.y[:, 0] / until)[:, None, :]

    def cover(self, colour: Array, alpha: Array) -> None:
        """Blend a colour, or an array of colours, over the pixels.

        ``alpha`` has shape (height, width).
        """
        self.pixels += (colour - self.pixels) * alpha[..., None].astype(np.float32)

    def disc(self, x: float, y: float, radius: float, blur: float = 0.0) -> Array:
        """Return an antialiased mask of a circle; all in units."""
        distance = np.sqrt((self.x - x) ** 2 + (self.y - y) ** 2)
        return np.clip((radius - distance) / max(blur, 1 / self.unit) + 0.5, 0, 1).astype(
            np.float32
        )

    def finish(self) -> Image.Image:
        """Darken the corners, add grain, and return the 8-bit picture."""
        across = np.linspace(-1, 1, self.width, dtype=np.float32)[None, :] ** 2
        down = np.linspace(-1, 1, self.height, dtype=np.float32)[:, None] ** 2
        pixels = self.pixels * (1 - 0.04 * (across + down) ** 2)[..., None]
        grain = self.rng.standard_normal((256, 256), dtype=np.float32) * 0.009
        repeat = (-(-self.height // 256), -(-self.width // 256))
        pixels += np.tile(grain, repeat)[: self.height, : self.width, None]
        return Image.fromarray((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8), "RGB")


def make_palette(codes: str) -> Array:
    """Turn colour codes, separated by blanks, into a smooth table of shape (1024, 3)."""
    stops = np.array(
        [[int(code[at : at + 2], 16) / 255 for at in (0, 2, 4)] for code in codes.split()]
    )
    places = np.linspace(0, len(stops) - 1, 1024)
    # Interpolating squared values avoids a grey middle of the gradient.
    bands = [
        np.sqrt(np.interp(places, np.arange(len(stops)), stops[:, band] ** 2)) for band in range(3)
    ]
    return np.stack(bands, axis=1).astype(np.float32)


def look_up(palette: Array, value: Array) -> Array:
    """Return the palette's colours at values 0..1 of any shape."""
    colours: Array = palette[
        np.clip(value * (len(palette) - 1), 0, len(palette) - 1).astype(np.intp)
    ]
    return colours


def smoothstep(low: float, high: float, value: Array) -> Array:
    """Return the smooth step from 0 at ``low`` to 1 at ``high``."""
    share = np.clip((value - low) / (high - low), 0, 1).astype(np.float32)
    curve: Array = share * share * (3 - 2 * share)
    return curve


# --- Backgrounds ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """Parameters of ``paint_layers``: sky at the top, overlapping layers below."""

    palettes: str  # from the sky through the farthest layer to the nearest
    count: int
    roughness: int  # octaves of the edges: 1 is round like a dune, 5 is jagged like rock
    height: float  # amplitude of the edges, in units
    shadow: float = 0.0  # darkness of a layer's shadow, as with cut paper
    has_stars: bool = False


def paint_layers(canvas: Canvas, layers: Layers) -> None:
    """Paint a sky with sun, and layers of hills or paper in front of it."""
    palette = canvas.pick_palette(layers.palettes)
    horizon = canvas.bottom * canvas.between(0.35, 0.55)
    canvas.fill_sky(palette[:400], until=horizon * 1.3)
    if layers.has_stars:
        stars = canvas.rng.random((canvas.height, canvas.width), dtype=np.float32) > 0.9985
        canvas.cover(_STARLIGHT, stars * smoothstep(0, horizon, horizon - canvas.y + 0 * canvas.x))
    sun = (canvas.right * canvas.between(0.2, 0.8), horizon * canvas.between(0.35, 0.8))
    light = palette[389] * 0.5 + 0.5
    canvas.cover(light, 0.5 * canvas.disc(*sun, 0.02, blur=0.5))
    canvas.cover(light, canvas.disc(*sun, canvas.between(0.04, 0.08)))
    for layer in range(layers.count):
        depth = layer / (layers.count - 1)
        top = horizon + (canvas.bottom - horizon) * depth**1.4 * 0.85
        swing = layers.height * (canvas.edge(1.2 + depth, layers.roughness) - 0.5)
        below = (canvas.y - top - swing[None, :]) * canvas.unit
        if layers.shadow:
            canvas.cover(_BLACK, layers.shadow * smoothstep(-0.05 * canvas.unit, 0, below))
        shade = look_up(palette, 0.42 + 0.58 * depth - 0.08 * np.clip(below / canvas.unit, 0, 1))
        canvas.cover(shade, np.clip(below + 0.5, 0, 1))


def paint_marble(canvas: Canvas) -> None:
    """Paint swirled inks with fine veins."""
    palette, fine = canvas.pick_palette(_INKS), canvas.noise(3)
    scale = canvas.between(3.4, 5.2)
    x, y = canvas.x * scale + 0.35 * fine, canvas.y * scale + 0.35 * fine
    for turn in range(1, 5):  # each turn distorts at a finer scale
        x, y = (
            x + canvas.between(0.7, 1.1) / turn * np.sin(turn * 1.15 * y + canvas.between(0, 6.3)),
            y + canvas.between(0.7, 1.1) / turn * np.cos(turn * 1.15 * x + canvas.between(0, 6.3)),
        )
    flow = np.sin(0.9 * x + 0.5 * y) - 0.35 * np.cos(0.7 * y - 0.4 * x)
    canvas.pixels = look_up(palette, 0.5 + 0.36 * flow + 0.1 * (fine - 0.5)).astype(np.float32)
    canvas.cover(_GOLD, np.exp(-((flow / 0.02) ** 2)) * smoothstep(0.4, 0.7, fine))


def paint_lights(canvas: Canvas) -> None:
    """Paint blurred city lights at night, larger and fainter towards the front."""
    palette = canvas.pick_palette(_CITIES)
    canvas.fill_sky(palette[:500], until=canvas.bottom)
    lights = Image.new("RGB", (canvas.width, canvas.height))
    pen = ImageDraw.Draw(lights, "RGBA")
    for number in range(90):
        nearness = number / 89
        x = canvas.between(0, canvas.right) * canvas.unit
        y = canvas.between(0.35, 0.95) * canvas.height
        radius = (0.008 + 0.07 * nearness**2) * canvas.unit
        red, green, blue = (int(band * 255) for band in palette[int(canvas.between(600, 1023))])
        box = (x - radius, y - radius, x + radius, y + radius)
        pen.ellipse(box, fill=(red, green, blue, int(190 - 120 * nearness)))
    blurred = lights.filter(ImageFilter.GaussianBlur(canvas.unit / 250))
    canvas.pixels += np.asarray(blurred, dtype=np.float32) / 255 * (1 - 0.5 * canvas.pixels)


_BLACK = np.zeros(3, dtype=np.float32)
_STARLIGHT = np.array([1, 0.97, 0.92], dtype=np.float32)
_GOLD = np.array([0.91, 0.79, 0.56], dtype=np.float32)
_HILLS = """
27406b 6f7fa6 d9a5a0 f6cf9f c79a9f 6a5673 1d2440
2d5d77 6ba3ae bcd6c8 f2ecd0 93b7b3 4d8189 12343f
1b1b3a 9c5b83 ee8f74 ffc97f a0648a 563a5e 150f2b
86a8cf b9cbe0 e6e1e1 f9ead9 b5bfd0 6d7e96 2a3a52
"""
_DUNES = """
7fb6d9 bfdbe6 f3e4c8 f0c98a dca565 b0703f 6b3d26
3f4f8a a9789c f0a98a f9cf94 d59a6a 9a5a4a 4a2b38
f2d7b0 f7e3c4 fbead0 f1b987 d98a5b a85540 5b2c2c
"""
_NIGHTS = """
05070f 0d1730 1e3358 3f6384 35597a 16304a 060d1c
0a0618 1c1140 3b2468 6a4a94 4a3a78 241c48 0a0818
03110f 0a2b2a 14524b 4f9a83 2f6f66 12403c 041413
"""
_PAPERS = """
f7e8d0 fbeed9 f2d3a5 f2b880 e07a5f 9d4e5d 2a2340
e8f1ee d5ebe6 c4e2dd a9d6cf 5fa8a3 2f6f7e 10263b
fff4e0 ffe9c8 ffdfb5 ff9f80 e56b8a 9b4f96 47327a
f3f0e6 e6e6d2 d9dfc5 cfd8b7 8fae7f 52805f 16322f
"""
_INKS = """
0b1d33 14405c 2f7f8f a8d5c8 f4efdc d9a566 7a3b2e
1a1423 4b2142 74384f a95c68 e8b4a0 fbeee0 d8cfe0
10101c 2b2d5b 5b5fc7 b7a7ee f7e6f0 f2a6a0 b84a62
fbf3e4 f4c98b e0835a a8433f 4a1f3a 1d1230
"""
_CITIES = """
080c18 101a33 27345e ff9d5c ffd08a fff0cf
0a0812 24112e 51245a ff6f91 ffc75f 9be7ff
04100f 0a2a2f 14505a 7fe0c3 ffe9a8 ff9e7a
"""
_HILL = Layers(palettes=_HILLS, count=6, roughness=5, height=0.42)
_DUNE = Layers(palettes=_DUNES, count=5, roughness=1, height=0.35)
_NIGHT = Layers(palettes=_NIGHTS, count=4, roughness=4, height=0.3, has_stars=True)
_PAPER = Layers(palettes=_PAPERS, count=7, roughness=2, height=0.3, shadow=0.25)

BACKGROUNDS: dict[str, Background] = {
    "hills": partial(paint_layers, layers=_HILL),
    "dunes": partial(paint_layers, layers=_DUNE),
    "night": partial(paint_layers, layers=_NIGHT),
    "paper": partial(paint_layers, layers=_PAPER),
    "marble": paint_marble,
    "lights": paint_lights,
}
# Words of a prompt that select a background. docs/sandbox.md repeats them.
WORDS: dict[str, str] = {
    "hills": (
        "mountain mountains hill hills valley forest lake winter snow river landscape sunrise"
        " sunset"
    ),
    "dunes": "desert dunes dune sand beach sea ocean coast savanna oasis",
    "night": "night moon star stars aurora planet space galaxy graveyard camp",
    "paper": "paper collage garden flower flowers leaf leaves poster meadow still",
    "marble": "marble ink liquid silk smoke glass crystal abstract portrait whisky wine",
    "lights": "city street neon lights rain casino poker bar concert traffic",
}
_BY_WORD = {word: name for name, words in WORDS.items() for word in words.split()}


def choose_background(prompt: str, seed: int) -> Background:
    """Return the background for the first known word of a prompt, else by ``seed``."""
    for word in re.findall(r"[a-z-]+", prompt.lower()):
        if word in _BY_WORD:
            return BACKGROUNDS[_BY_WORD[word]]
    return list(BACKGROUNDS.values())[seed % len(BACKGROUNDS)]
