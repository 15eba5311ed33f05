"""The tools that every scene paints with: coordinates, noise, gradients, edges, light.

Colour is float32 RGB, 0..1, shape (height, width, 3). Lengths are fractions of the shorter side ("units"), so that a
scene looks the same at every size. Noise comes from the picture's own generator: same seed, same picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Array = npt.NDArray[np.floating[Any]]
Colour = tuple[float, float, float]


def rgb(code: str) -> Colour:
    """'#aabbcc' or 'aabbcc' as three fractions."""
    code = code.removeprefix("#")
    return int(code[0:2], 16) / 255, int(code[2:4], 16) / 255, int(code[4:6], 16) / 255


def ramp(codes: str, steps: int = 512) -> Array:
    """Colour codes, separated by blanks, as a smooth table of shape (steps, 3)."""
    stops = np.array([rgb(code) for code in codes.split()], dtype=np.float32)
    at = np.linspace(0, 1, len(stops))
    # Mixing in squared values keeps the middle of a gradient from turning grey.
    return np.stack(
        [np.sqrt(np.interp(np.linspace(0, 1, steps), at, stops[:, band] ** 2)) for band in range(3)], axis=1
    ).astype(np.float32)


def lookup(table: Array, value: Array) -> Array:
    """Colours of a ``ramp`` at values 0..1 of any shape."""
    index = np.clip(value * (len(table) - 1), 0, len(table) - 1).astype(np.intp)
    colours: Array = table[index]
    return colours


def mix(low: Array | Colour, high: Array | Colour, share: Array | float) -> Array:
    start = np.asarray(low, dtype=np.float32)
    return (start + (np.asarray(high, dtype=np.float32) - start) * share).astype(np.float32)


def smooth(low: float, high: float, value: Array) -> Array:
    """0 below ``low``, 1 above ``high``, and a soft S in between."""
    share: Array = np.clip((value - low) / (high - low), 0, 1).astype(np.float32)
    return share * share * (3 - 2 * share)


class Canvas:
    """One picture in the making."""

    def __init__(self, width: int, height: int, rng: np.random.Generator) -> None:
        self.width, self.height, self.rng = width, height, rng
        self.unit = float(min(width, height))  # pixels per unit
        self.right, self.bottom = width / self.unit, height / self.unit  # the far corner in units
        self.x: Array = ((np.arange(width, dtype=np.float32) + 0.5) / self.unit)[None, :]
        self.y: Array = ((np.arange(height, dtype=np.float32) + 0.5) / self.unit)[:, None]
        self.pixels: Array = np.zeros((height, width, 3), dtype=np.float32)

    # --- Choosing ----------------------------------------------------------------------------------------------------
    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def pick(self, options: Sequence[str]) -> str:
        return options[int(self.rng.integers(len(options)))]

    # --- Noise -------------------------------------------------------------------------------------------------------
    def noise(
        self, scale: float, *, octaves: int = 4, gain: float = 0.5, stretch: tuple[float, float] = (1, 1)
    ) -> Array:
        """Cloudy noise 0..1, shape (height, width). ``scale``: features per unit; ``stretch``: how much longer."""
        total = np.zeros((self.height, self.width), dtype=np.float32)
        weight, strength = 0.0, 1.0
        for octave in range(octaves):
            frequency = scale * 2**octave
            columns = max(2, round(self.right * frequency / stretch[0]) + 1)
            rows = max(2, round(self.bottom * frequency / stretch[1]) + 1)
            grid = self.rng.random((rows, columns), dtype=np.float32)
            if columns > self.width or rows > self.height:
                break
            layer = Image.fromarray(grid, "F").resize((self.width, self.height), Image.Resampling.BICUBIC)
            total += np.asarray(layer) * strength
            weight += strength
            strength *= gain
        clouds: Array = np.clip((total / max(weight, 1e-6) - 0.5) * 1.35 + 0.5, 0, 1).astype(np.float32)
        return clouds

    def line(self, scale: float, *, octaves: int = 5, gain: float = 0.5, samples: int = 0) -> Array:
        """Noise 0..1 along the width (or ``samples`` points), shape (width,)."""
        at = np.linspace(0, self.right, samples or self.width, dtype=np.float32)
        total, weight, strength = np.zeros_like(at), 0.0, 1.0
        for octave in range(octaves):
            knots = self.rng.random(int(self.right * scale * 2**octave) + 3, dtype=np.float32)
            place = at * scale * 2**octave
            index = place.astype(np.intp)
            share = place - index
            share = share * share * (3 - 2 * share)
            total += (knots[index] * (1 - share) + knots[index + 1] * share) * strength
            weight += strength
            strength *= gain
        return (total / weight).astype(np.float32)

    # --- Painting ----------------------------------------------------------------------------------------------------
    def sky(self, codes: str, *, until: float | None = None) -> None:
        """Fill with a gradient from the top to ``until`` (units)."""
        share = self.y[:, 0] / (until or self.bottom)
        self.pixels[:] = lookup(ramp(codes, 1024), np.clip(share, 0, 1))[:, None, :]

    def cover(self, colour: Array | Colour, alpha: Array | float, *, top: int = 0) -> None:
        """Lay a colour (or a picture of colours) over what is there, from row ``top`` down."""
        share = alpha if isinstance(alpha, float) else alpha[..., None]
        self.pixels[top:] += (np.asarray(colour, dtype=np.float32) - self.pixels[top:]) * share

    def glow(self, colour: Colour, amount: Array, *, top: int = 0) -> None:
        """Add light from row ``top`` down; bright places saturate softly."""
        light = np.asarray(colour, dtype=np.float32) * amount[..., None].astype(np.float32)
        self.pixels[top:] += light * (1 - 0.6 * np.clip(self.pixels[top:], 0, 1))

    def top(self, edge: Array) -> int:
        """The row above the highest point of a line, so that layers touch only rows that they change."""
        return int(np.clip(float(edge.min()) * self.unit - 2, 0, self.height - 1))

    def below(self, edge: Array, *, top: int = 0) -> Array:
        """Antialiased mask of everything under a line (units from the top, shape (width,)), from row ``top`` down."""
        mask: Array = np.clip((self.y[top:] - edge[None, :]) * self.unit + 0.5, 0, 1).astype(np.float32)
        return mask

    def distance(self, x: float, y: float) -> Array:
        away: Array = np.sqrt((self.x - x) ** 2 + (self.y - y) ** 2)
        return away

    def disc(self, distance: Array, radius: float, *, blur: float = 0.0) -> Array:
        """Antialiased mask of a circle from its ``distance`` field; ``blur`` in units."""
        soft = max(blur, 1 / self.unit)
        mask: Array = np.clip((radius - distance) / soft + 0.5, 0, 1).astype(np.float32)
        return mask

    def sun(self, x: float, y: float, radius: float, colour: Colour, *, halo: float = 0.5) -> None:
        away = self.distance(x, y)
        self.glow(colour, halo * np.exp(-((away / (radius * 5)) ** 1.2)).astype(np.float32))
        self.cover(mix(colour, (1, 1, 1), 0.35), self.disc(away, radius))

    def stars(self, amount: float, *, until: float | None = None, bright: float = 0.9) -> None:
        """Small stars, ``amount`` per square unit, above ``until`` (units)."""
        floor = until or self.bottom
        number = int(amount * self.right * floor)
        size = max(self.unit / 900, 0.55)
        mask = Image.new("L", (self.width, self.height))
        pen = ImageDraw.Draw(mask)
        where = self.rng.random((number, 3))
        for across, down, light in where:
            x, y = across * self.width, down * floor * self.unit
            radius = size * (0.5 + 1.3 * light**6)
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=int(40 + 215 * light**3))
        self.glow((1, 0.97, 0.92), np.asarray(mask, dtype=np.float32) / 255 * bright)

    def shapes(self, paint: Callable[[ImageDraw.ImageDraw, float], None]) -> None:
        """Let ``paint(pen, scale)`` draw polygons over the picture; ``scale`` turns units into the pen's pixels.

        Drawn at twice the size and reduced, because Pillow's own shapes have jagged edges.
        """
        factor = 2 if self.width * self.height <= 2048 * 1152 else 1
        under = self.image().resize((self.width * factor, self.height * factor), Image.Resampling.BILINEAR)
        paint(ImageDraw.Draw(under, "RGBA"), self.unit * factor)
        small = under.reduce(factor) if factor > 1 else under
        self.pixels = np.asarray(small, dtype=np.float32) / np.float32(255)

    def bloom(self, light: Array, radius: float, strength: float) -> None:
        """Add a blurred copy of ``light`` (height, width, 3); ``radius`` in units."""
        shrink = max(1, int(self.unit // 256))
        small = Image.fromarray((np.clip(light, 0, 1) * 255).astype(np.uint8), "RGB").reduce(shrink)
        blurred = small.filter(ImageFilter.GaussianBlur(radius * self.unit / shrink))
        spread = (
            np.asarray(blurred.resize((self.width, self.height), Image.Resampling.BILINEAR), dtype=np.float32) / 255
        )
        self.pixels += spread * strength * (1 - 0.5 * np.clip(self.pixels, 0, 1))

    # --- Finishing ---------------------------------------------------------------------------------------------------
    def finish(self, *, grain: float = 0.009, vignette: float = 0.16) -> Image.Image:
        """Darken the corners slightly, add film grain and give the 8-bit picture."""
        across = np.linspace(-1, 1, self.width, dtype=np.float32)[None, :] ** 2
        down = np.linspace(-1, 1, self.height, dtype=np.float32)[:, None] ** 2
        self.pixels *= (1 - vignette * (across + down) ** 2 / 4)[..., None]
        tile = self.rng.standard_normal((256, 256), dtype=np.float32) * grain
        repeat = (-(-self.height // 256), -(-self.width // 256))
        self.pixels += np.tile(tile, repeat)[: self.height, : self.width, None]
        return self.image()

    def image(self) -> Image.Image:
        return Image.fromarray((np.clip(self.pixels, 0, 1) * 255 + 0.5).astype(np.uint8), "RGB")
