"""Known images: looks an image up by its hashes. Free, instant, and the same for every image.

Finds the same file and look-alikes among earlier verdicts and on hash lists. Judges no content:
without a match, nothing is known, and that is never "clean".
"""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings

from generation.models import Asset
from moderation.classifiers.base import Assessment, Finding, Stage
from moderation.matches import Match, Origin
from moderation.models.decisions import Verdict
from moderation.models.earlier_verdicts import (
    KNOWN_IMAGES,
    EarlierVerdict,
    find_rejected_look_alikes,
    find_same_file,
)
from moderation.models.hash_lists import HashList
from moderation.services import hash_lists

# Entries of lists that are shown for one image.
ENTRIES_MAX = 10


class KnownImages:
    """An ``AssetClassifier`` that runs when an image is stored and when its review is settled."""

    slug = KNOWN_IMAGES
    label = "Known images"
    version = "1"
    stage = Stage.DELIVERED
    trusted_when_silent = False
    silence = ""  # it judges no content
    is_lookup = True

    def applies_to(self, asset: Asset) -> bool:
        return True

    def classify(self, asset: Asset) -> Assessment:
        """Look the asset up. Stores only what the hashes say; the policy decides."""
        matches = list(_find_matches(asset))
        bad = [match for match in matches if match.is_bad]
        categories = dict.fromkeys(slug for match in bad for slug in match.categories)
        return Assessment(
            findings=tuple(Finding(category=slug, confidence=None) for slug in categories),
            flagged=bool(bad),
            note=" ".join(f"{match.text}." for match in bad),
            raw={
                "matches": [match.to_json() for match in matches],
                "rejects": any(match.rejects for match in bad),
            }
            if matches
            else {},
        )


def _find_matches(asset: Asset) -> Iterator[Match]:
    within = settings.HASH_MATCH_DISTANCE
    same = find_same_file(asset)
    yield from map(_describe_verdict, same)
    known = {verdict.review.pk for verdict in same}
    for verdict in find_rejected_look_alikes(asset, within=within):
        if verdict.review.pk not in known:
            yield _describe_verdict(verdict)
    listed = sorted(hash_lists.search_asset(asset, within=within), key=_rank)
    yield from map(_describe_entry, listed[:ENTRIES_MAX])


def _rank(found: hash_lists.Found) -> tuple[bool, bool]:
    """Sort block lists first, and equal files before look-alikes."""
    return found.entry.hash_list.kind != HashList.Kind.BLOCK, found.distance is not None


def _describe_entry(found: hash_lists.Found) -> Match:
    entry = found.entry
    listed = f"the {entry.hash_list.get_kind_display().lower()} “{entry.hash_list}”"
    name = f"entry {entry.hex[:12]}" + (f", {entry.note}" if entry.note else "")
    text = (
        f"On {listed} ({name})"
        if found.distance is None
        else f"Looks like an entry of {listed} ({found.distance} of 256 bits differ; {name})"
    )
    is_block = entry.hash_list.kind == HashList.Kind.BLOCK
    return Match(
        origin=Origin.BLOCKED if is_block else Origin.ALLOWED,
        text=text,
        categories=(entry.category,) if entry.category and is_block else (),
        distance=found.distance,
    )


def _describe_verdict(verdict: EarlierVerdict) -> Match:
    decision, image = verdict.decision, verdict.review.asset.short_id
    likeness = (
        f"Same file as {image}"
        if verdict.distance is None
        else f"Looks like {image} ({verdict.distance} of 256 bits differ)"
    )
    return Match(
        origin=Origin.REJECTED if decision.verdict == Verdict.REJECT else Origin.APPROVED,
        text=(
            f"{likeness}, {decision.past_tense} by {decision.author}"
            f" on {decision.created_at:%Y-%m-%d}"
        ),
        categories=tuple(decision.categories),
        distance=verdict.distance,
        review=str(verdict.review.uuid),
        is_blurred=verdict.review.is_blurred,
    )
