"""What classifiers said about an image, in words: sources, what they cannot see, suggestions,
boxes.
"""

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
from moderation.models.classification_summary import Part, Run, pack, unpack
from moderation.taxonomy import Category

SUGGESTIONS = 9
# An exclusive list of what it sees reads better than a long list of what it does not.
FEW = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelGroup:
    category: Category
    confidence: Decimal | None  # None: no confidence was given
    parts: int  # how many places in the image it was found in; 0 when the classifier names none
    details: str = ""  # what the classifier's own words say beyond the category

    @property
    def rank(self) -> Decimal:
        """The surer the higher; without a confidence last."""
        return Decimal(-1) if self.confidence is None else self.confidence

    @property
    def l1(self) -> Category:
        return taxonomy.get(self.category.l1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One classification in words."""

    run: Run
    label: str
    found: Sequence[LabelGroup]
    limits: str

    @property
    def verdict(self) -> str:
        """What there is to say where it names neither a category nor a number."""
        if self.run.flagged:
            return "flagged, no category"
        return "not flagged" if classifiers.is_binary(self.run.classifier) else "nothing found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    category: Category
    confidence: Decimal | None  # None: none was given
    digit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Where a classifier saw something, in pixels of the image."""

    name: str
    x: int
    y: int
    width: int
    height: int
    text_size: int  # in the same pixels, so that it looks the same over every image

    @property
    def is_right(self) -> bool:
        """Whether its text has to run to the left to stay on the picture."""
        return self.x > 18 * self.text_size

    @property
    def text_x(self) -> int:
        return self.x + (self.width if self.is_right else 0)


def sources_of(review: Review) -> list[Source]:
    """As the review keeps it; from the tables while classifiers are at work, and where nothing was
    kept yet.
    """
    summary = review.classification_summary
    if summary is None:
        summary = pack(Classification.objects.of(review.asset_id))
    return [_source(run) for run in unpack(summary)]


def _source(run: Run) -> Source:
    return Source(
        run=run, label=classifiers.label(run.classifier), found=_found(run), limits=_limits(run)
    )


def suggestions(sources: Iterable[Source]) -> list[Suggestion]:
    """What the classifiers found, as far as a rejection can name it, surest first."""
    allowed = taxonomy.reject_reasons()
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


def _found(run: Run) -> list[LabelGroup]:
    """One line per category: its highest confidence, and in how many places."""
    grouped: dict[str, list[Part]] = {}
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


def _limits(run: Run) -> str:
    """What it cannot see, in words: silence about these means nothing."""
    return _unseen(tuple(run.covers.items())) if run.status == Classification.Status.DONE else ""


@functools.lru_cache(maxsize=256)
def _unseen(covers: tuple[tuple[str, str], ...]) -> str:
    """The same for every run of a version."""
    if not covers:
        return "Names no category, so its silence is about none in particular."
    how_far = dict(covers)
    seen = [category for category in taxonomy.L1 if category.slug in how_far]
    unseen = [category for category in taxonomy.L1 if category.slug not in how_far]
    partly = [category for category in seen if how_far[category.slug] != Coverage.FULL]
    all_partly = len(partly) == len(seen)
    sentences = []
    if len(seen) <= FEW:
        sentences.append(f"Sees only{', and in part' if all_partly else ''}: {_list(seen)}.")
    elif unseen:
        sentences.append(f"Cannot see: {_list(unseen)}.")
    if partly and not all_partly:
        sentences.append(f"Sees in part: {_list(partly)}.")
    elif all_partly and len(seen) > FEW:
        sentences.append("Sees the rest in part.")
    return " ".join(sentences)


def _list(categories: Sequence[Category]) -> str:
    # Semicolons, because several names hold "and" or "or" themselves.
    return "; ".join(category.short for category in categories)


def boxes_of(asset: Asset, sources: Iterable[Source]) -> list[Box]:
    found = [part for source in sources for part in source.run.parts]
    return [_box(part, part.box, asset) for part in found if part.box]


def _box(part: Part, shares: Sequence[float], asset: Asset) -> Box:
    left, top, width, height = shares
    return Box(
        name=taxonomy.names([part.category])
        + ("" if part.confidence is None else f" {round(part.confidence)}"),
        x=round(left * asset.width),
        y=round(top * asset.height),
        width=round(width * asset.width),
        height=round(height * asset.height),
        text_size=math.ceil(max(asset.width, asset.height) / 42),
    )
