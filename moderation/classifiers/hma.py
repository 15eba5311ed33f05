"""Classifier that looks an image up at another Hasher-Matcher-Actioner server, by its hash alone.

A match goes to a person, with the bank and the content. Without a match nothing is known of the
image: it is in no bank, which is never "clean". Images without a reliable perceptual hash (flat
ones) are not looked up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.conf import settings

from generation.models import image_search
from generation.providers.hma import Hma
from generation.wire import hma as wire
from moderation.classifiers.base import Assessment
from moderation.classifiers.one_image import OneImageClassifier, Outcomes
from moderation.classifiers.reencode import Sendable
from moderation.matches import Match, Origin

if TYPE_CHECKING:
    from generation.models import Asset

MATCHES_SHOWN = 10
_NO_PIXELS = Sendable(content=b"", media_type="")


class HmaLookup(OneImageClassifier):
    """A ``RemoteClassifier``."""

    slug = "hma"
    version = "1"
    trusted_when_silent = False
    silence = ""  # it judges no content
    is_lookup = True
    setting_names = "HMA_BASE_URL and HMA_API_KEY"

    @property
    def label(self) -> str:
        return settings.HMA["label"] if settings.HMA else "Hasher-Matcher-Actioner"

    def applies_to(self, asset: Asset) -> bool:
        return asset.pdq is not None and asset.pdq_quality >= image_search.QUALITY_MIN

    def explain_off(self) -> str:
        if settings.HMA is None:
            return "Hasher-Matcher-Actioner is switched off: HMA_BASE_URL is not set."
        return ""

    def accepts(self, content: bytes, media_type: str) -> bool:
        return True

    def _read_images(
        self, assets: Sequence[Asset]
    ) -> tuple[list[tuple[Asset, Sendable]], Outcomes]:
        """Read no files: only hashes are sent."""
        return [(asset, _NO_PIXELS) for asset in assets], []

    def _judge(self, asset: Asset, content: bytes, media_type: str) -> Assessment:
        assert settings.HMA is not None, "explain_off() was called before."
        assert asset.pdq is not None, "applies_to() was called before."
        return assess(Hma(**settings.HMA).look_up(bytes(asset.pdq)), self.label)


def assess(found: Sequence[wire.BankMatch], label: str) -> Assessment:
    """Translate the matches; those outside of HMA_BANKS do not count."""
    counted = [
        match for match in found if not settings.HMA_BANKS or match.bank in settings.HMA_BANKS
    ]
    matches = [_describe(match, label) for match in counted[:MATCHES_SHOWN]]
    return Assessment(
        flagged=bool(matches),
        note=" ".join(f"{match.text}." for match in matches),
        raw={
            "matches": [match.to_json() for match in matches],
            "found": [match.model_dump() for match in found[: 10 * MATCHES_SHOWN]],
        }
        if found
        else {},
    )


def _describe(match: wire.BankMatch, label: str) -> Match:
    is_number = match.distance.isascii() and match.distance.isdigit()
    distance = int(match.distance) if is_number else None
    details = []
    if match.content_id is not None:
        details.append(f"content {match.content_id}")
    if distance is not None:
        details.append(f"{distance} of 256 bits differ")
    about = f" ({', '.join(details)})" if details else ""
    text = f"In the bank “{match.bank}” of {label}{about}"
    return Match(origin=Origin.BLOCKED, text=text, distance=distance)
