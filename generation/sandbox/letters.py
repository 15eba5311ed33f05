"""Text on sandbox pictures: the SANDBOX tag, and the card with the categories.

Uses the font included in Pillow, so results do not depend on installed fonts.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFilter, ImageFont

from generation.sandbox import glyphs, marker
from generation.sandbox.cards import BY_SLUG

_INK = (28, 30, 38)
_QUIET = (112, 114, 122)
_SHEET = (250, 248, 243)


def draw_tag(image: Image.Image) -> None:
    """Write SANDBOX on a dark pill in the lower right corner, readable on any picture."""
    size = max(8.0, min(image.size) * 0.02)
    font = _load_font(size)
    text = "S A N D B O X"
    left, top, right, bottom = font.getbbox(text)
    wide, tall = right - left + 1.3 * size, bottom - top + 0.9 * size
    margin = max(3, round(min(image.size) * 0.016))
    x = image.width - margin - wide
    y = image.height - marker.strip_height(image.size) - margin - tall
    pen = ImageDraw.Draw(image, "RGBA")
    pen.rounded_rectangle((x, y, x + wide, y + tall), tall / 2, fill=(12, 14, 20, 84))
    pen.text(
        (x + 0.65 * size - left, y + 0.45 * size - top), text, font=font, fill=(255, 255, 255, 225)
    )


def draw_card(image: Image.Image, labels: Sequence[tuple[str, int]]) -> None:
    """Draw a paper card: symbol, "Stands for", and name and confidence of each category."""
    rows = len(labels)
    wide = min(
        image.width * 0.84,
        min(image.size) * 0.8 if image.height >= image.width else image.height * 1.15,
    )
    unit = min(
        wide / 10, (image.height - marker.strip_height(image.size)) * 0.84 / (1.9 * rows + 1.7)
    )
    wide = unit * 10
    tall = unit * (1.9 * rows + 1.7)
    left = round((image.width - wide) / 2)
    top = round((image.height - marker.strip_height(image.size) - tall) / 2)
    box = (left, top, round(left + wide), round(top + tall))
    _blur_behind_card(image, box, unit)
    sheet = Image.new("L", (image.width, image.height))
    ImageDraw.Draw(sheet).rounded_rectangle(box, unit * 0.45, fill=242)
    image.paste(_SHEET, mask=sheet)
    pen = ImageDraw.Draw(image)
    edge = left + unit * 0.8
    pen.text((edge, top + unit * 0.62), "Stands for", font=_load_font(unit * 0.62), fill=_QUIET)
    for row, (slug, percent) in enumerate(labels):
        _draw_category(image, pen, (edge, top + unit * (1.75 + 1.9 * row)), unit, slug, percent)


def _draw_category(
    image: Image.Image,
    pen: ImageDraw.ImageDraw,
    at: tuple[float, float],
    unit: float,
    slug: str,
    percent: int,
) -> None:
    """Draw one category: symbol, name, and a bar for the confidence."""
    x, y = at
    size = max(8, round(unit * 1.3))
    found = BY_SLUG[slug]
    image.paste(_INK, (round(x), round(y)), glyphs.draw_glyph(found.glyph, size))
    start, room = x + unit * 1.7, unit * 6.75
    font = _fit_font(found.title, unit * 0.84, room)
    pen.text((start, y + unit * 0.02), found.title, font=font, fill=_INK)
    bar = y + unit * 1.26
    thick = max(1.0, unit * 0.1)
    number = _load_font(unit * 0.46)
    written = f"{percent}"
    length = room - unit * 1.0
    pen.rounded_rectangle(
        (start, bar, start + length, bar + thick), thick / 2, fill=(222, 219, 211)
    )
    if percent:
        pen.rounded_rectangle(
            (start, bar, start + length * percent / 100, bar + thick), thick / 2, fill=(84, 88, 102)
        )
    pen.text((start + room, bar + thick / 2), written, font=number, fill=_QUIET, anchor="rm")


def _blur_behind_card(image: Image.Image, box: tuple[int, int, int, int], unit: float) -> None:
    """Blur the picture behind the card and draw the card's shadow."""
    shrink = max(1, min(image.size) // 160)
    small = image.reduce(shrink).filter(ImageFilter.GaussianBlur(3))
    image.paste(small.resize(image.size, Image.Resampling.BICUBIC))
    shade = Image.new("L", (-(-image.width // shrink), -(-image.height // shrink)))
    drop = unit * 0.16
    edges = [value / shrink for value in (box[0], box[1] + drop, box[2], box[3] + drop)]
    ImageDraw.Draw(shade).rounded_rectangle(edges, unit * 0.45 / shrink, fill=120)
    shade = shade.filter(ImageFilter.GaussianBlur(max(unit * 0.3 / shrink, 0.5)))
    image.paste((10, 12, 20), mask=shade.resize(image.size, Image.Resampling.BILINEAR))


def _fit_font(text: str, size: float, room: float) -> ImageFont.FreeTypeFont:
    """Return the font at ``size`` pixels, or smaller so that the text fits."""
    length = _load_font(size).getlength(text)
    return _load_font(size if length <= room else size * room / length)


def _load_font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size=max(size, 5.0))
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError(
            "Pillow was built without FreeType, so the sandbox cannot write on its pictures."
        )
    return font
