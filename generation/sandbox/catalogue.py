"""Models of the simulated Novita; all names are fictional.

Each model is a row of Novita's ``GET /v3/model``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterator, Mapping

from generation.wire import task as wire
from generation.wire.parsing import parse_integer

PAGE_MAX = 100
PAGE_DEFAULT = 20

# Title, base model, tags. "SDXL 1.0" makes it an SDXL model.
_CHECKPOINTS = (
    ("Alder Realism v4", "SD 1.5", "photorealistic landscape people"),
    ("Amberlight v2", "SDXL 1.0", "photography golden hour"),
    ("Aquarelle Mix v1.5", "SD 1.5", "watercolour illustration"),
    ("Basalt XL v1", "SDXL 1.0", "landscape photorealistic"),
    ("Bluebird Anime v6", "SD 1.5", "anime illustration"),
    ("Brushwork XL v3", "SDXL 1.0", "oil painting art"),
    ("Cinder Concept v2", "SD 1.5", "concept art fantasy"),
    ("Clearwater v5", "SD 1.5", "base general"),
    ("Cobalt Diffusion XL", "SDXL 1.0", "general base"),
    ("Copperplate v1", "SD 1.5", "engraving ink line"),
    ("Daguerre v2.1", "SD 1.5", "photography black and white"),
    ("Driftwood XL v2", "SDXL 1.0", "nature photography"),
    ("Ember Noir v3", "SD 1.5", "film night city"),
    ("Fernleaf Botanica v1", "SD 1.5", "botanical illustration"),
    ("Glasshouse XL v4", "SDXL 1.0", "architecture interior"),
    ("Halcyon Mix v7", "SD 1.5", "general people"),
    ("Inkwell Manga v3", "SD 1.5", "anime ink black and white"),
    ("Juniper Photo v9", "SD 1.5", "photography people portrait"),
    ("Kestrel XL Turbo", "SDXL 1.0", "fast general"),
    ("Lantern Street v2", "SD 1.5", "city night cyberpunk"),
    ("Meridian XL v5", "SDXL 1.0", "general photorealistic"),
    ("Northern Sky v1", "SD 1.5", "landscape aurora night"),
    ("Opaline XL v2", "SDXL 1.0", "abstract marble art"),
    ("Papercut v3", "SD 1.5", "paper craft illustration"),
    ("Quarry Product v2", "SD 1.5", "product studio"),
    ("Roundel Bauhaus v1", "SD 1.5", "geometric poster"),
    ("Saffron Dunes v2", "SD 1.5", "landscape desert"),
    ("Tidewater XL v3", "SDXL 1.0", "ocean landscape"),
    ("Umber Portrait v4", "SD 1.5", "portrait oil painting"),
    ("Voyager Space XL v1", "SDXL 1.0", "space planet science fiction"),
    ("Willow Storybook v2", "SD 1.5", "children illustration"),
)


_LORAS = (
    ("Aurora Glow", "SD 1.5", "light aurora night"),
    ("Brass & Steam", "SD 1.5", "steampunk machine"),
    ("Chalkboard Lines", "SD 1.5", "chalk drawing line"),
    ("Dewdrop Macro", "SDXL 1.0", "macro nature photography"),
    ("Fine Grain Film", "SD 1.5", "film photography grain"),
    ("Gouache Wash", "SDXL 1.0", "gouache painting"),
    ("Harbour Fog", "SD 1.5", "fog sea mood"),
    ("Isometric Rooms", "SDXL 1.0", "isometric interior"),
    ("Linocut Edge", "SD 1.5", "linocut print"),
    ("Mossy Stone", "SD 1.5", "nature texture"),
    ("Neon Signage", "SDXL 1.0", "neon city night"),
    ("Paper Layers", "SD 1.5", "paper craft"),
)
_VAES = (
    ("Clear Glass VAE", "SD 1.5", "sharp neutral"),
    ("Deep Contrast VAE", "SD 1.5", "contrast"),
    ("Soft Pastel VAE", "SD 1.5", "soft pastel"),
    ("Wide Gamut XL VAE", "SDXL 1.0", "colour wide"),
)
_EMBEDDINGS = (
    ("Careful Hands", "SD 1.5", "negative hands"),
    ("No Blur", "SD 1.5", "negative sharp"),
    ("No Watermark", "SD 1.5", "negative text"),
    ("Plain Backdrop", "SD 1.5", "studio background"),
    ("Steady Eyes", "SD 1.5", "negative face"),
    ("Tidy Composition XL", "SDXL 1.0", "negative composition"),
)
# Type, display name, rows, file extension, first ID, whether the API name has the extension.
_TYPES: tuple[tuple[str, str, tuple[tuple[str, str, str], ...], str, int, bool], ...] = (
    ("checkpoint", "Checkpoint", _CHECKPOINTS, ".safetensors", 0, False),
    ("lora", "LORA", _LORAS, ".safetensors", 1000, False),
    ("vae", "VAE", _VAES, ".safetensors", 2000, False),
    # The extension in the API name follows Novita's own examples.
    ("textualinversion", "Textual Inversion", _EMBEDDINGS, ".pt", 3000, True),
)


def _make_rows() -> Iterator[wire.ModelRow]:
    for kind, display, entries, ending, start, keeps_ending in _TYPES:
        for place, (title, base, tags) in enumerate(entries):
            number = start + place
            stem = re.sub(r"[^a-z0-9.]+", "_", title.lower()).strip("_") + f"_{55100 + 13 * number}"
            yield wire.ModelRow(
                id=804600 + 7 * number,
                name=title,
                hash_sha256=hashlib.sha256(title.encode()).hexdigest(),
                sd_name=stem + ending,
                type=wire.ModelType(name=kind, display_name=display),
                categories=["Popular"] if number % 5 == 0 else [],
                status=1,
                tags=tags.split(),
                source="civitai",
                base_model=base,
                base_model_type="Standard",
                sd_name_in_api=stem + ending if keeps_ending else stem,
                is_sdxl=base.startswith("SDXL"),
            )


ROWS: tuple[wire.ModelRow, ...] = tuple(_make_rows())


def is_sdxl(name: str) -> bool | None:
    """Return whether the model of this name is SDXL; None for an unknown name."""
    return next((row.is_sdxl for row in ROWS if name in (row.sd_name, row.sd_name_in_api)), None)


def list_page(asked: Mapping[str, str]) -> wire.ModelsReply:
    """Return one page of the rows that match ``filter.*``.

    Raises ValueError with a message for an invalid limit or cursor.
    """
    rows = [row for row in ROWS if _matches(row, asked)]
    start, limit = (
        _parse_cursor(asked.get("pagination.cursor", "")),
        _parse_limit(asked.get("pagination.limit", "")),
    )
    chosen = rows[start : start + limit]
    more = start + limit < len(rows)
    return wire.ModelsReply(
        models=chosen,
        pagination=wire.Pagination(
            next_cursor=_make_cursor(start + limit, chosen[-1].id) if more else ""
        ),
    )


def _matches(row: wire.ModelRow, asked: Mapping[str, str]) -> bool:
    if (
        asked.get("filter.types", "checkpoint") != row.type.name
        or asked.get("filter.source", row.source) != row.source
    ):
        return False
    # There are no private models and no inpainting models.
    if (
        asked.get("filter.visibility") == "private"
        or asked.get("filter.is_inpainting", "").lower() == "true"
    ):
        return False
    if asked.get("filter.is_sdxl", str(row.is_sdxl)).lower() != str(row.is_sdxl).lower():
        return False
    text = " ".join((row.sd_name, row.name, *row.tags)).lower()
    return asked.get("filter.query", "").strip().lower() in text


def _parse_limit(value: str) -> int:
    limit = parse_integer(value) or 0 if value else PAGE_DEFAULT
    if not 0 < limit <= PAGE_MAX:
        raise ValueError(f"pagination.limit must be from 1 to {PAGE_MAX}")
    return limit


def _make_cursor(offset: int, last: int) -> str:
    return "c_" + base64.b64encode(json.dumps([offset, str(last)]).encode()).decode()


def _parse_cursor(cursor: str) -> int:
    """Parse a cursor to an offset.

    Accepts "" and c_0, our own cursors, and c_<number>, which Novita's Python SDK counts itself.
    Raises ValueError for others.
    """
    value = cursor.removeprefix("c_").removeprefix("c_")  # the same SDK adds a second prefix
    if re.fullmatch(r"\d{0,9}", value, re.ASCII):
        return int(value or 0)
    try:
        offset = json.loads(base64.b64decode(value, validate=True))[0]
    except (ValueError, binascii.Error, TypeError, LookupError, RecursionError):
        offset = None
    if not isinstance(offset, int) or offset < 0:
        raise ValueError("pagination.cursor is not one of this server's")
    return offset
