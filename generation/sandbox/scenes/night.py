"""Night scenes: a city by the water, planets."""

from __future__ import annotations

import math

import numpy as np

from generation.sandbox.scenes.canvas import Array, Canvas, Colour, lookup, mix, ramp, rgb, smooth

# sky from the top; far buildings; near buildings; window lights
_CITIES = (
    ("070b1d 151b3f 3a2f63 8a4a78 e08a6d", "4a3a66", "0a0d1e", "ffd38a ffb75e fff0cf 9fd8ff"),
    ("050a14 0b1e33 164055 2f6f78", "1d4a5a", "040b14", "ffe6a8 c9f2ff 7fe0e8 ffc46b"),
    ("12091f 2f1140 6a1b5d c23a6b f7875f", "5a2258", "12081c", "ffdf9e ff8fb1 8fd3ff ffc46b"),
    ("0b0f1a 1b2438 34425c 6c7688", "3a475f", "090c15", "ffe2a6 fff4da ffcf7a d8e7ff"),
)


def city(canvas: Canvas) -> None:
    """A skyline with lit windows, mirrored in the water before it."""
    sky, far, near, lamps = _choose(canvas, _CITIES)
    shore = canvas.bottom * canvas.between(0.7, 0.8)
    canvas.sky(sky, until=shore)
    canvas.stars(130, until=shore * 0.55, bright=0.5)
    if canvas.rng.random() < 0.6:
        spot = (canvas.right * canvas.between(0.12, 0.88), shore * canvas.between(0.12, 0.4))
        canvas.sun(*spot, canvas.between(0.03, 0.055), rgb("f4efe0"), halo=0.28)
    lights: Array = np.zeros_like(canvas.pixels)
    colours = [rgb(code) for code in lamps.split()]
    for depth in (0.0, 0.45, 1.0):
        body = mix(rgb(far), rgb(near), depth)
        _row(canvas, lights, shore, depth, body, colours)
        haze = np.exp(-((shore - canvas.y) / (0.16 * shore))) * (1 - depth) * 0.42
        canvas.cover(rgb(sky.split()[-1]), (haze * np.ones_like(canvas.x)).astype(np.float32))
    canvas.pixels = np.maximum(canvas.pixels, lights)
    canvas.bloom(lights, 0.014, 1.5)
    _water(canvas, shore)


def _row(
    canvas: Canvas, lights: Array, shore: float, depth: float, body: Array | Colour, colours: list[Colour]
) -> None:
    """Buildings side by side: nearer rows are lower, darker and have larger windows."""
    ground, x = int(shore * canvas.unit), -0.02
    skyline = canvas.line(1.6, octaves=2)
    while x < canvas.right:
        width = canvas.between(0.045, 0.1) * (0.8 + 0.5 * depth)
        middle = min(int(max(x + width / 2, 0) * canvas.unit), canvas.width - 1)
        tall = shore * (0.2 + 0.55 * float(skyline[middle]) ** 1.4 * canvas.between(0.55, 1.25)) * (1.12 - 0.42 * depth)
        left, right = max(int(x * canvas.unit), 0), min(int((x + width) * canvas.unit), canvas.width)
        top = max(ground - int(tall * canvas.unit), 0)
        if right > left:
            _building(canvas, lights, (left, top, right, ground), depth, body, colours)
        x += width * canvas.between(0.82, 1.0)


def _building(
    canvas: Canvas,
    lights: Array,
    box: tuple[int, int, int, int],
    depth: float,
    body: Array | Colour,
    colours: list[Colour],
) -> None:
    left, top, right, ground = box
    wide, tall = right - left, ground - top
    shade = np.linspace(1.12, 0.9, wide, dtype=np.float32)[None, :, None] * np.float32(canvas.between(0.85, 1.15))
    canvas.pixels[top:ground, left:right] = np.asarray(body, dtype=np.float32) * shade
    lights[top:ground, left:right] = 0
    _roof(canvas, lights, box, body)
    pitch = max(3, round((0.0075 + 0.0042 * depth) * canvas.unit))
    down = max(4, round(pitch * canvas.between(1.15, 1.6)))
    columns, rows = wide // pitch, tall // down
    if not columns or not rows:
        return
    share = canvas.between(0.12, 0.55) * (0.6 + 0.4 * depth)
    lit = canvas.rng.random((rows, columns)) < share
    power = (canvas.rng.random((rows, columns)) ** 0.5 * (0.62 + 0.4 * depth) * lit).astype(np.float32)
    tint = np.array(colours, dtype=np.float32)[canvas.rng.choice(len(colours), (rows, columns), p=_odds(len(colours)))]
    panes = tint * power[..., None]
    across, deep = np.arange(columns * pitch), np.arange(rows * down)
    inside = ((across % pitch) >= max(1, pitch // 3))[None, :] & ((deep % down) >= max(1, int(down * 0.42)))[:, None]
    picture = panes[deep // down][:, across // pitch] * inside[..., None]
    start = left + (wide - columns * pitch) // 2
    here = picture[: ground - top, : max(canvas.width - start, 0)]
    lights[top : top + here.shape[0], start : start + here.shape[1]] = here


def _roof(canvas: Canvas, lights: Array, box: tuple[int, int, int, int], body: Array | Colour) -> None:
    """Some buildings end in a step or a mast with a red lamp."""
    left, top, right, _ = box
    wide = right - left
    kind = canvas.rng.random()
    if kind < 0.35:
        inset, rise = int(wide * canvas.between(0.15, 0.35)), int(canvas.unit * canvas.between(0.01, 0.035))
        canvas.pixels[max(top - rise, 0) : top, left + inset : right - inset] = body
        lights[max(top - rise, 0) : top, left + inset : right - inset] = 0
    elif kind < 0.5:
        rise, thin = int(canvas.unit * canvas.between(0.03, 0.08)), max(1, int(canvas.unit * 0.003))
        at, peak = left + wide // 2, max(top - rise, 0)
        canvas.pixels[peak:top, at : at + thin] = body
        lights[peak : peak + thin * 2, at : at + thin] = rgb("ff5a4a")


def _odds(number: int) -> Array:
    weights = 0.5 ** np.arange(number)
    odds: Array = weights / weights.sum()
    return odds


def _water(canvas: Canvas, shore: float) -> None:
    """Mirror the city; lights stretch into trembling columns."""
    start = min(int(shore * canvas.unit), canvas.height - 1)
    rows = np.arange(canvas.height - start)
    depth = (rows / max(len(rows), 1)).astype(np.float32)
    smear = max(1, int(canvas.unit * 0.03))
    picture = np.zeros((len(rows), canvas.width, 3), dtype=np.float32)
    for step in range(4):
        source = np.clip(start - 1 - (rows * 1.7).astype(int) - step * smear // 2, 0, start - 1)
        picture += canvas.pixels[source] / 4
    ripple = canvas.noise(46, octaves=2, stretch=(7, 1))[start:]
    sway = ((ripple - 0.5) * canvas.unit * 0.03 * (0.25 + depth[:, None])).astype(np.intp)
    columns = np.clip(np.arange(canvas.width)[None, :] + sway, 0, canvas.width - 1)
    mirrored = picture[np.arange(len(rows))[:, None], columns]
    canvas.pixels[start:] = mirrored * ((0.85 - 0.25 * depth[:, None]) * (0.7 + 0.6 * ripple))[..., None]


# nebula; planet from pole to pole; rim light
_SPACES = (
    ("04050f 0c1030 2a1f5c 6b3a86 d0708f f6c79a", "f2d6b3 d9a066 b86f50 e8c39e a65f48 f0dcc0", "ffcf9e"),
    ("02060d 06202c 0d4a56 2f8f8a a8e0c0", "9fd8d8 5fa8b8 2f6f8f bfe6e0 3f7f9f d8f0ea", "9ff0ff"),
    ("06030d 220c2c 551a4b a8325a f0786a ffd6a0", "e8b7a0 b05f6f 7f3f5f d89f90 5f2f4f f0cfb8", "ff9fb0"),
    ("03060f 0c1a3c 1d3f7c 4f7fc0 b9d4f2", "d8e4f2 8fb0d8 5f80b8 c0d4ec 4060a0 e8f0f8", "a8ccff"),
)


def space(canvas: Canvas) -> None:
    """A nebula, stars, and a planet lit from one side, now and then with rings."""
    nebula, surface, rim = _choose(canvas, _SPACES)
    dust = canvas.noise(1.3, octaves=6, gain=0.55)
    veil = canvas.noise(2.4, octaves=5, gain=0.6)
    slant = canvas.between(0, math.pi)
    band = (canvas.x - canvas.right / 2) * math.sin(slant) - (canvas.y - canvas.bottom / 2) * math.cos(slant)
    glow = np.exp(-((band / 0.42) ** 2)) * smooth(0.25, 0.85, dust) * (0.35 + 0.85 * smooth(0.3, 0.75, veil))
    canvas.pixels = lookup(ramp(nebula, 1024), np.clip(glow * 0.72 + 0.03, 0, 0.9).astype(np.float32))
    canvas.stars(650)
    radius = canvas.between(0.16, 0.3)
    x, y = canvas.right * canvas.between(0.25, 0.75), canvas.bottom * canvas.between(0.3, 0.68)
    light = canvas.between(-2.6, -0.6)
    rings = canvas.rng.random() < 0.55
    tilt = canvas.between(-0.5, 0.5)
    if rings:
        _rings(canvas, x, y, radius, tilt, surface, behind=True)
    _planet(canvas, (x, y, radius), light, tilt, (surface, rim))
    if rings:
        _rings(canvas, x, y, radius, tilt, surface, behind=False)
    small = radius * canvas.between(0.12, 0.22)
    turn = canvas.between(0, 2 * math.pi)
    away = radius * canvas.between(1.5, 2.1)
    _planet(
        canvas, (x + away * math.cos(turn), y + away * math.sin(turn), small), light, 0.0, ("8f8f9f d8d0c8 6f6f80", rim)
    )


def _planet(
    canvas: Canvas, place: tuple[float, float, float], light: float, tilt: float, colours: tuple[str, str]
) -> None:
    """A ball with bands of cloud, its night side, and a thin atmosphere."""
    centre_x, centre_y, radius = place
    surface, rim = colours
    x, y = (canvas.x - centre_x) / radius, (canvas.y - centre_y) / radius
    away = np.sqrt(x * x + y * y)
    z = np.sqrt(np.clip(1 - away**2, 0, 1))
    latitude = y * math.cos(tilt) - x * math.sin(tilt)
    swirl = canvas.noise(5 / max(radius * 4, 0.4), octaves=4, stretch=(2.2, 1))
    value = 0.5 + 0.5 * np.sin(latitude * 5.5 + 2.6 * (swirl - 0.5) * 1.6)
    ground = lookup(ramp(surface), np.clip(value * 0.8 + 0.25 * swirl - 0.05, 0, 1).astype(np.float32))
    sun = x * math.cos(light) * 0.82 + y * math.sin(light) * 0.82 + z * 0.5
    day = smooth(-0.12, 0.95, sun.astype(np.float32))
    air = np.exp(-(np.clip(np.abs(away - 1), 0, 9) * 9)) * smooth(-0.35, 0.8, sun.astype(np.float32))
    canvas.cover(ground * (0.02 + 1.05 * day[..., None]), canvas.disc((away * radius).astype(np.float32), radius))
    canvas.glow(rgb(rim), (air * 0.75).astype(np.float32))


def _rings(
    canvas: Canvas, centre_x: float, centre_y: float, radius: float, tilt: float, surface: str, *, behind: bool
) -> None:
    x, y = canvas.x - centre_x, canvas.y - centre_y
    along = x * math.cos(tilt) + y * math.sin(tilt)
    across = (y * math.cos(tilt) - x * math.sin(tilt)) / 0.28
    away: Array = np.sqrt(along**2 + across**2) / radius
    grooves = 0.62 + 0.25 * np.sin(away * 38) + 0.13 * np.sin(away * 91)
    gap = smooth(1.70, 1.73, away) * (1 - smooth(1.77, 1.80, away))
    mask = smooth(1.32, 1.38, away) * (1 - smooth(2.05, 2.15, away)) * (1 - gap)
    half = across < 0 if behind else across >= 0
    colour = mix(rgb(surface.split()[0]), (1, 1, 1), 0.2)
    canvas.cover(colour * grooves[..., None], (mask * half * 0.72).astype(np.float32))


def _choose(canvas: Canvas, palettes: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    return palettes[int(canvas.rng.integers(len(palettes)))]
