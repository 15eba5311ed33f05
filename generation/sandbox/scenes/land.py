"""Landscapes: mountains, dunes, ocean, aurora."""

from __future__ import annotations

import numpy as np

from generation.sandbox.scenes.canvas import Array, Canvas, Colour, lookup, mix, ramp, rgb, smooth

# sky from the top; far range; near range; sun
_MOUNTAINS = (
    ("27406b 6f7fa6 d9a5a0 f6cf9f fbe6c2", "c79a9f", "1d2440", "fff1cf"),
    ("2d5d77 6ba3ae bcd6c8 f2ecd0", "93b7b3", "12343f", "fffbe6"),
    ("1b1b3a 4a3a6b 9c5b83 ee8f74 ffc97f", "a0648a", "150f2b", "ffe3a8"),
    ("86a8cf b9cbe0 e6e1e1 f9ead9", "b5bfd0", "2a3a52", "fffdf5"),
    ("0d1730 1e3358 3f6384 86a7ae", "527a92", "060d1c", "eaf3ff"),
    ("3f2b4f 8a4a62 d97b62 f6b26b fde3a7", "c07a70", "241430", "fff0c4"),
)


def mountains(canvas: Canvas) -> None:
    """Ranges behind ranges, mist between them, firs on the nearest."""
    sky, far, near, sun = _choose(canvas, _MOUNTAINS)
    horizon = canvas.bottom * canvas.between(0.5, 0.62)
    canvas.sky(sky, until=horizon * 1.25)
    _clouds(canvas, horizon, 0.22)
    canvas.sun(
        canvas.right * canvas.between(0.2, 0.8),
        horizon * canvas.between(0.35, 0.8),
        canvas.between(0.035, 0.075),
        rgb(sun),
    )
    mist = mix(rgb(sky.split()[-1]), rgb(far), 0.35)
    layers = 6
    for layer in range(layers):
        depth = layer / (layers - 1)
        top = horizon * (0.78 + 0.1 * depth) + (canvas.bottom - horizon) * depth**1.5 * 0.72
        edge = top - (0.2 - 0.1 * depth) * (canvas.line(1.6 + 1.1 * depth, gain=0.52) - 0.42) * 1.9
        trees = _firs(canvas, 0.022 + 0.03 * (layer == layers - 1)) if layer >= layers - 2 else 0.0
        colour = mix(rgb(far), rgb(near), depth**0.85)
        _range(canvas, edge.astype(np.float32), trees, colour, mist, fog=0.62 * (1 - depth))


def _range(canvas: Canvas, edge: Array, trees: Array | float, colour: Array, mist: Array, *, fog: float) -> None:
    """One range: its colour, fading into mist towards its foot."""
    ridge = edge - trees
    top = canvas.top(ridge)
    depth: Array = np.clip((canvas.y[top:] - edge[None, :]) / (0.3 * canvas.bottom), 0, 1)
    slope = np.gradient(edge) * canvas.unit
    light = np.clip(1 + 0.16 * np.tanh(slope * 0.8), 0.8, 1.2).astype(np.float32)[None, :]
    light = 1 + (light - 1) * np.exp(-depth * 5)
    body = mix(colour, mist, (fog * depth)[..., None]) * light[..., None]
    canvas.cover(body, canvas.below(ridge, top=top), top=top)


def _firs(canvas: Canvas, tall: float) -> Array:
    """Heights of a row of fir trees along the width, in units."""
    heights = np.zeros(canvas.width, dtype=np.float32)
    across = canvas.x[0]
    groves = canvas.line(3, octaves=2)
    for _ in range(int(canvas.right * 2.1 / tall)):
        centre, height = canvas.between(0, canvas.right), tall * canvas.between(0.5, 1.5)
        height *= 0.35 + 1.1 * float(groves[min(int(centre * canvas.unit), canvas.width - 1)])
        away = np.abs(across - centre) / (height * 0.24)
        branch = 0.1 * height * np.abs(np.sin(away * 7))
        np.maximum(heights, height * (1 - away) - branch * (away < 1), out=heights)
    return heights


def _clouds(canvas: Canvas, until: float, strength: float) -> None:
    """Long thin clouds above the horizon."""
    wisps = smooth(0.55, 0.9, canvas.noise(2.2, octaves=5, stretch=(3.2, 1)))
    canvas.cover((1.0, 0.96, 0.93), wisps * strength * np.clip(1.1 - canvas.y / until, 0, 1))


_DUNES = (
    ("3a6ea5 8db7d4 f2dcb8 f9c98b", "f0b878 d98e52 a9582f 6b2f22", "fff3d6"),
    ("2b1b4d 7a3b69 d96c5f f7b267", "e39a6c c0604f 7c3048 3a1a3a", "ffd9a0"),
    ("6fa3c7 b8d3dd f4ead2", "f3dfb9 e2b98a b98a63 7d5a4c", "fffdf0"),
    ("0f1b38 2c3e66 6a6f94 b79aa0", "8c8098 5f587e 3a3a63 1c2145", "f3efff"),
)


def dunes(canvas: Canvas) -> None:
    """Sand ridges, lit from one side."""
    sky, sand, sun = _choose(canvas, _DUNES)
    horizon = canvas.bottom * canvas.between(0.36, 0.48)
    canvas.sky(sky, until=horizon * 1.1)
    canvas.sun(canvas.right * canvas.between(0.15, 0.85), horizon * canvas.between(0.35, 0.7), 0.06, rgb(sun), halo=0.4)
    table = ramp(sand)
    ripples = canvas.noise(26, octaves=2, stretch=(3.5, 1))
    layers = 5
    for layer in range(layers):
        depth = layer / (layers - 1)
        top = horizon + (canvas.bottom - horizon) * depth**1.4 * 0.78
        edge = top - (0.1 + 0.24 * depth) * (canvas.line(1.1 + 0.5 * (1 - depth), octaves=2, gain=0.22) - 0.35)
        crest = canvas.line(0.8, octaves=1) * canvas.right * 0.25
        row = canvas.top(edge)
        inside = np.clip((canvas.y[row:] - edge[None, :]) / (0.5 * (canvas.bottom - horizon)), 0, 1)
        # The lit side meets the shaded one along a line that wanders down from the ridge.
        turn = np.gradient(edge)[None, :] * canvas.unit * 2.2 + (inside - 0.25) * 1.3 + crest[None, :] * 0.6
        shade = 0.1 + 0.26 * depth + 0.46 * smooth(-0.12, 0.4, turn) + 0.12 * (ripples[row:] - 0.5) * depth
        canvas.cover(lookup(table, shade), canvas.below(edge, top=row), top=row)


_OCEANS = (
    ("0e2a47 2f6f92 f2a97e ffd9a0", "4aa3a8 1f7a8c 145374 0b2545", "fff0cd"),
    ("7fb7d6 bfe0e6 fdf3dc", "8fd3d1 3ba7b5 1c7293 0b3c5d", "fffdf0"),
    ("2a1a4a 6d3f7f e0748a ffb48f", "9c6f9f 5a4a8a 33336b 171738", "ffe0c0"),
    ("0a1526 15304d 3a6178 86a3a0", "5e8f93 2c5f73 173f57 081a2b", "eef7ff"),
)


def ocean(canvas: Canvas) -> None:
    """Swell behind swell, with foam on the crests and the sun's path on the water."""
    sky, water, sun = _choose(canvas, _OCEANS)
    horizon = canvas.bottom * canvas.between(0.36, 0.5)
    canvas.sky(sky, until=horizon)
    _clouds(canvas, horizon, 0.3)
    x = canvas.right * canvas.between(0.25, 0.75)
    canvas.sun(x, horizon - canvas.between(0.0, 0.14), canvas.between(0.06, 0.1), rgb(sun), halo=0.4)
    table = ramp(water)
    layers = 12
    for layer in range(layers):
        _swell(canvas, table, layer / (layers - 1), horizon, first=layer == 0)
    glitter = canvas.noise(70, octaves=2, stretch=(6, 1))
    path = np.exp(-(((canvas.x - x) / (0.05 + 0.32 * np.clip(canvas.y - horizon, 0, 9))) ** 2)).astype(np.float32)
    fade = np.clip(1.25 - (canvas.y - horizon) / (canvas.bottom - horizon), 0, 1) * (canvas.y > horizon)
    canvas.glow(rgb(sun), (smooth(0.6, 0.78, glitter) * path * fade * 0.8).astype(np.float32))


def _swell(canvas: Canvas, table: Array, depth: float, horizon: float, *, first: bool) -> None:
    top = horizon + (canvas.bottom - horizon) * depth**1.7 * 0.93
    size = 0.0 if first else 0.006 + 0.062 * depth**1.2
    long = canvas.between(1.4, 2.2) * (1 + 2.6 * (1 - depth))
    phase = canvas.between(0, 6.28)
    across = canvas.x[0] * long * 3.1 + phase + 5 * canvas.line(1.1, octaves=2)
    wave = np.abs(np.sin(across)) ** 1.3  # sharp troughs read as crests once they are turned over
    wave = 1 - (1 - wave) * (0.35 + 0.65 * canvas.line(2.1, octaves=2))
    edge = (top - size * (1 - wave) + 0.4 * size * (canvas.line(1.5, octaves=3) - 0.5)).astype(np.float32)
    row = canvas.top(edge)
    y = canvas.y[row:]
    inside: Array = np.clip((y - edge[None, :]) / (0.03 + 0.2 * depth), 0, 1)
    body = lookup(table, np.clip(0.1 + 0.72 * depth + 0.34 * (inside - 0.45), 0, 1).astype(np.float32))
    canvas.cover(body, canvas.below(edge, top=row), top=row)
    if not first:
        thick = 0.0016 + 0.006 * depth
        foam = np.exp(-(((y - edge[None, :] - thick) / thick) ** 2)) * (1 - wave) ** 0.8
        lace = 0.45 + 0.55 * canvas.line(30, octaves=2)
        canvas.glow((0.93, 0.98, 1.0), foam * lace * (0.2 + 0.5 * depth), top=row)


_AURORAS = (
    ("050b1f 0b1e3a 123c52 1d5a5a", "3dffa8 27c9d9 8a5bff"),
    ("070716 151238 2b1f58 453070", "58f5c0 5a8dff d35bff"),
    ("04101a 072638 0d4450 146056", "9dff7a 35e0b5 3f8cff"),
    ("0a0a1e 1d1240 3b1d54 5a2a58", "5bffd8 7d7bff ff6fae"),
)


def aurora(canvas: Canvas) -> None:
    """Curtains of light over a forest and a still lake."""
    sky, lights = _choose(canvas, _AURORAS)
    shore = canvas.bottom * canvas.between(0.7, 0.78)
    canvas.sky(sky, until=shore)
    canvas.stars(420, until=shore)
    low, middle, high = (rgb(code) for code in lights.split())
    for _ in range(3):
        _curtain(canvas, shore, (low, middle, high))
    hills = shore - 0.03 - 0.12 * canvas.line(1.3, octaves=4)
    canvas.cover(mix(rgb(sky.split()[1]), (0, 0, 0), 0.35), canvas.below(hills.astype(np.float32)) * 0.9)
    forest = shore - 0.012 - _firs(canvas, 0.06)
    canvas.cover((0.012, 0.025, 0.04), canvas.below(forest.astype(np.float32)))
    _mirror(canvas, shore)


def _curtain(canvas: Canvas, shore: float, lights: tuple[Colour, Colour, Colour]) -> None:
    foot = shore * canvas.between(0.4, 0.82) + 0.3 * shore * (canvas.line(canvas.between(0.9, 1.7), octaves=2) - 0.5)
    reach = shore * canvas.between(0.25, 0.5) * (0.5 + canvas.line(2.5, octaves=2))
    rays = (0.25 + 0.75 * canvas.line(16, octaves=3, gain=0.7) ** 1.6) * (0.15 + canvas.line(1.8, octaves=2) ** 1.5)
    up = (foot[None, :] - canvas.y) / reach[None, :]
    body = np.where(up >= 0, np.exp(-up * 1.7), np.exp(up * 16)).astype(np.float32) * rays[None, :].astype(np.float32)
    share = np.clip(up, 0, 1).astype(np.float32)
    for colour, weight in zip(lights, ((1 - share) ** 2, 2 * share * (1 - share), share**2), strict=True):
        canvas.glow(colour, (body * weight * 1.5).astype(np.float32))


def _mirror(canvas: Canvas, shore: float) -> None:
    """Reflect what is above ``shore`` in what is below it, a little darker and rippled."""
    start = min(int(shore * canvas.unit), canvas.height - 1)
    rows = np.arange(canvas.height - start)
    source = np.clip(start - 1 - (rows * 1.35).astype(int), 0, start - 1)
    depth = rows / max(len(rows), 1)
    sway = (np.sin(rows / canvas.unit * 420 + canvas.between(0, 6)) * (0.6 + 3 * depth) * canvas.unit / 600).astype(int)
    columns = np.clip(np.arange(canvas.width)[None, :] + sway[:, None], 0, canvas.width - 1)
    picture = canvas.pixels[source[:, None], columns]
    canvas.pixels[start:] = picture * (0.74 - 0.3 * depth[:, None, None]).astype(np.float32)


def _choose(canvas: Canvas, palettes: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    return palettes[int(canvas.rng.integers(len(palettes)))]
