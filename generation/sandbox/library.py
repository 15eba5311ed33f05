"""Fictional assets of the simulated Scenario: about sixty, always the same.

They include all kinds of faults. A trait names the fault of an asset; docs/sandbox.md lists the
traits. A labelled asset's picture names the category on a card, as all sandbox pictures do, and
never depicts it.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from generation.wire.txt2img import Request

PROJECT, SECOND_PROJECT = "proj_sandboxharbour", "proj_sandboxattic"
PROJECTS = (PROJECT, SECOND_PROJECT)
AUTHOR = hashlib.md5(b"sandbox author", usedforsecurity=False).hexdigest()
FIRST_DAY = datetime(2026, 9, 1, 8, 0, tzinfo=UTC)
SIZES = ((384, 256), (256, 256), (256, 384))
FORMATS = ("png", "jpeg", "webp")
MODELS = ("model_sandboxWatercolour", "model_sandboxDioramas", "model_sandboxPosters")

LATE = "late"  # no labels in the listing, and none in the first two lookups
NEVER = "never"  # never any labels
BROKEN, PAGE, GONE = "broken", "page", "gone"  # truncated image, a web page instead, 404
STALE, EXPIRED = "stale", "expired"  # the URL in the listing has expired; every URL has
PENDING = "pending"  # not finished, so without a URL
VIDEO, AUDIO, MODEL_3D = "video", "audio", "3d"  # not an image
TWIN = "twin"  # the same pixels as the previous asset
OTHER_KINDS = {
    VIDEO: ("video", "video/mp4"),
    AUDIO: ("audio", "audio/mpeg"),
    MODEL_3D: ("3d", "model/glb"),
}

# Prompt, labels (None: not analysed), trait.
_ODD: tuple[tuple[str, tuple[str, ...] | None, str], ...] = (
    ("a revolver on a velvet cushion", ("violence",), ""),
    ("two friends with whisky in a bar", ("alcohol", "tobacco"), ""),
    ("a card sandbox:drugs-tobacco.products@88", ("drugs",), ""),
    ("an old man smoking by the lake", ("tobacco",), ""),
    ("a harbour that was looked at late", ("violence",), LATE),
    ("a lighthouse that was looked at late", (), LATE),
    ("a forest nobody has looked at", None, NEVER),
    ("a poker night", ("gambling",), ""),
    ("a card sandbox:explicit.nudity@90", ("explicit",), ""),
    ("a card from before sandbox:explicit.nudity@80", ("explicit_nudity",), ""),
    ("a card from before sandbox:non-explicit.nudity@60", ("suggestive",), ""),
    ("a couple kissing in the rain", ("non_explicit",), ""),
    ("a swimmer at dawn", ("swimwear_underwear",), ""),
    ("an allegory nobody has a word for", ("cosmic_dread",), ""),
    ("a tavern nobody has all words for, with beer", ("alcohol", "melancholy"), ""),
    ("a card sandbox:hate-symbols.extremist@91", ("hate_symbols",), ""),
    ("a graveyard under the moon", ("visually_disturbing",), ""),
    ("a card sandbox:rude-gestures.middle-finger@70", ("rude_gestures",), ""),
    ("a valley whose image breaks off", (), BROKEN),
    ("a meadow that became a web page", (), PAGE),
    ("a glacier whose image is not there", (), GONE),
    ("an island with an old address", (), STALE),
    ("a canyon with old addresses only", (), EXPIRED),
    ("waves that move", None, VIDEO),
    ("waves that sound", None, AUDIO),
    ("a wave in three dimensions", None, MODEL_3D),
    ("a desert that is still being painted", None, PENDING),
    ("paper boats", (), ""),
    ("paper boats", (), TWIN),
)
_SCENES = (
    "a quiet harbour",
    "misty hills",
    "a garden in spring",
    "a papercut canyon",
    "a planet with rings",
    "a retro poster",
    "the northern lights",
    "marbled ink",
    "dunes at noon",
    "ribbons in the wind",
    "ferns",
    "a crystal",
)
_MOODS = ("at dawn", "in soft colours", "after the storm")


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A fictional asset."""

    number: int
    prompt: str
    labels: tuple[str, ...] | None
    trait: str

    @property
    def id(self) -> str:
        digest = hashlib.sha256(f"sandbox asset {self.number}".encode()).digest()
        return "asset_" + base64.b64encode(digest, altchars=b"xz").decode()[:22]

    @property
    def project(self) -> str:
        return SECOND_PROJECT if self.number % 10 == 9 else PROJECT

    @property
    def created_at(self) -> datetime:
        return FIRST_DAY + timedelta(hours=7 * self.number)

    @property
    def source_number(self) -> int:
        """The number of the asset whose pixels it shows."""
        return self.number - 1 if self.trait == TWIN else self.number

    @property
    def seed(self) -> int:
        """A seed as long as Scenario's: beyond JavaScript's safe integers."""
        return 602_245_905_551_000_000 + 7919 * self.source_number

    @property
    def size(self) -> tuple[int, int]:
        return SIZES[self.source_number % len(SIZES)]

    @property
    def image_type(self) -> str:
        return FORMATS[self.source_number % len(FORMATS)]

    @property
    def model(self) -> str:
        return MODELS[self.source_number % len(MODELS)]

    @property
    def is_image(self) -> bool:
        return self.trait not in OTHER_KINDS

    @property
    def order(self) -> Request:
        """The txt2img request from which the picture is drawn."""
        width, height = self.size
        fields = {"model_name": self.model, "prompt": self.prompt, "width": width, "height": height}
        more = {
            "image_num": 1,
            "steps": 28,
            "guidance_scale": 6.5,
            "sampler_name": "Euler a",
            "seed": self.seed % 2**32,
        }
        return Request.model_validate({**fields, **more})


def _make_library() -> tuple[Exhibit, ...]:
    """Return all assets: plain ones, alternating with faulty ones while there are any."""
    plain = [(f"{scene} {mood}", (), "") for mood in _MOODS for scene in _SCENES]
    rows: list[tuple[str, tuple[str, ...] | None, str]] = []
    odd = list(_ODD)
    for row in plain:
        rows.append(row)
        if odd:
            rows.append(odd.pop(0))
            # A twin directly follows its original.
            if odd and odd[0][2] == TWIN:
                rows.append(odd.pop(0))
    return tuple(Exhibit(number, *row) for number, row in enumerate(rows))


ASSETS = _make_library()
BY_ID = {exhibit.id: exhibit for exhibit in ASSETS}
