"""The classifiers' results for people: sources, their limits, suggestions, boxes."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from generation.models import Asset
from moderation import classifiers, taxonomy
from moderation.classifiers.base import Coverage
from moderation.models import Classification, Review
from moderation.models.classification_summary import (
    LabelSummary,
    RunSummary,
    deserialize,
    serialize,
)
from moderation.taxonomy import Category

SUGGESTIONS = 9
# With this few categories or fewer, the text lists what the classifier sees instead of what it does
# not.
FEW = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelGroup:
    """A category that one classifier found, with its highest confidence."""

    category: Category
    confidence: Decimal | None  # None: the classifier gave none
    parts: int  # number of boxes; 0 if the classifier gives none
    details: str = ""  # the classifier's own labels beyond the category

    @property
    def rank(self) -> Decimal:
        """Sort key: the confidence; labels without one come last."""
        return Decimal(-1) if self.confidence is None else self.confidence

    @property
    def l1(self) -> Category:
        return taxonomy.get(self.category.l1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One classification as shown to people."""

    run: RunSummary
    label: str
    found: Sequence[LabelGroup]
    limits: str
    waits_for: str = ""  # the classifiers that must end before this one

    @property
    def verdict(self) -> str:
        """Text for a result without a category and without a score."""
        if self.run.matches:
            return ""  # the page shows the matches
        if classifiers.is_lookup(self.run.classifier):
            return "not known"
        if self.run.flagged:
            return "flagged, no category"
        return "not flagged" if classifiers.is_binary(self.run.classifier) else "nothing found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A category offered as a reject reason."""

    category: Category
    confidence: Decimal | None  # None: the classifier gave none
    digit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A box of a classifier, in pixels of the image."""

    name: str
    x: int
    y: int
    width: int
    height: int
    text_size: int  # in image pixels, so that it has the same size on every image

    @property
    def is_right(self) -> bool:
        """Return whether the text must run to the left to stay inside the image."""
        return self.x > 18 * self.text_size

    @property
    def text_x(self) -> int:
        return self.x + (self.width if self.is_right else 0)


def load_sources(review: Review) -> list[Source]:
    """Return the classifications of a review.

    Reads the stored summary; falls back to the tables while classifiers run and for old reviews.
    """
    summary = review.classification_summary
    if summary is None:
        summary = serialize(Classification.objects.current_for_asset(review.asset_id))
    runs = deserialize(summary)
    return [_build_source(run, _name_awaited(run, runs)) for run in runs]


def _name_awaited(run: RunSummary, runs: Iterable[RunSummary]) -> str:
    """Return the labels of the running classifiers that a held one waits for."""
    if not run.is_held:
        return ""
    stage = classifiers.get_stage(run.classifier)
    awaited = [
        classifiers.label(other.classifier)
        for other in runs
        if other.status == Classification.Status.QUEUED
        and classifiers.get_stage(other.classifier) < stage
    ]
    return " and ".join(awaited) or "its turn"


def _build_source(run: RunSummary, waits_for: str) -> Source:
    return Source(
        run=run,
        label=classifiers.label(run.classifier),
        found=_group_labels(run),
        limits=_describe_limits(run),
        waits_for=waits_for,
    )


def suggest_categories(sources: Iterable[Source]) -> list[Suggestion]:
    """Return the found categories that can be reject reasons, highest confidence first."""
    allowed = taxonomy.list_reject_reasons()
    best: dict[str, LabelGroup] = {}
    for found in (
        found for source in sources for found in source.found if found.category.slug in allowed
    ):
        slug = found.category.slug
        if slug not in best or found.rank > best[slug].rank:
            best[slug] = found
    ranked = sorted(best.values(), key=lambda found: found.rank, reverse=True)[:SUGGESTIONS]
    return [
        Suggestion(category=found.category, confidence=found.confidence, digit=digit)
        for digit, found in enumerate(ranked, 1)
    ]


def _group_labels(run: RunSummary) -> list[LabelGroup]:
    """Group the labels by category, with the highest confidence and the number of boxes."""
    grouped: dict[str, list[LabelSummary]] = {}
    for part in run.parts:
        grouped.setdefault(part.category, []).append(part)
    lines = [
        LabelGroup(
            category=taxonomy.CATEGORIES.get(slug) or Category(slug, slug, ""),
            confidence=max(
                (part.confidence for part in group if part.confidence is not None), default=None
            ),
            parts=sum(part.box is not None for part in group),
            details=", ".join(run.details.get(slug, ())),
        )
        for slug, group in grouped.items()
    ]
    return sorted(lines, key=lambda line: line.rank, reverse=True)


def _describe_limits(run: RunSummary) -> str:
    """Return a text about the categories the classifier cannot see."""
    return (
        _describe_coverage(tuple(run.covers.items()))
        if run.status == Classification.Status.DONE and not classifiers.is_lookup(run.classifier)
        else ""
    )


@functools.lru_cache(maxsize=256)
def _describe_coverage(covers: tuple[tuple[str, str], ...]) -> str:
    """Build the text of ``_limits``. Cached: it depends only on the coverage."""
    if not covers:
        return "Reports no categories, so a clean result covers none in particular."
    how_far = dict(covers)
    seen = [category for category in taxonomy.L1 if category.slug in how_far]
    unseen = [category for category in taxonomy.L1 if category.slug not in how_far]
    partly = [category for category in seen if how_far[category.slug] != Coverage.FULL]
    all_partly = len(partly) == len(seen)
    sentences = []
    if len(seen) <= FEW:
        sentences.append(
            f"Detects only{', and in part' if all_partly else ''}: {_join_names(seen)}."
        )
    elif unseen:
        sentences.append(f"Does not detect: {_join_names(unseen)}.")
    if all_partly and not unseen:
        return "Detects all categories in part."
    if partly and not all_partly:
        sentences.append(f"Detects in part: {_join_names(partly)}.")
    elif all_partly and len(seen) > FEW:
        sentences.append("Detects the rest in part.")
    return " ".join(sentences)


def _join_names(categories: Sequence[Category]) -> str:
    # Semicolons, because several names contain "and" or "or".
    return "; ".join(category.short for category in categories)


def build_boxes(asset: Asset, sources: Iterable[Source]) -> list[Box]:
    found = [part for source in sources for part in source.run.parts]
    return [_build_box(part, part.box, asset) for part in found if part.box]


def _build_box(part: LabelSummary, shares: Sequence[float], asset: Asset) -> Box:
    left, top, width, height = shares
    return Box(
        name=taxonomy.join_names([part.category])
        + ("" if part.confidence is None else f" {round(part.confidence)}"),
        x=round(left * asset.width),
        y=round(top * asset.height),
        width=round(width * asset.width),
        height=round(height * asset.height),
        text_size=math.ceil(max(asset.width, asset.height) / 42),
    )
