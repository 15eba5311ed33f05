"""The classifiers' results as a table: categories down, classifiers across."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from moderation import classifiers, taxonomy
from moderation.classifiers.base import Coverage
from moderation.models import Classification, PolicyRule
from moderation.policy_engine import Thresholds
from moderation.presenters.labels import LabelGroup, Source
from moderation.taxonomy import Category

_Status = Classification.Status
SCORE = "score"  # row of scores without a category
FLAG = "flag"  # row of positive answers without a category
NO_CELL_TEXT = {
    _Status.FAILED: "failed",
    _Status.SKIPPED: "not asked",
    _Status.QUEUED: "no result yet",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A classifier's result for one category."""

    state: str  # found, clear, partly, unseen, failed, skipped, queued
    text: str  # for screen readers and as a tooltip
    confidence: Decimal | None = None  # None: the classifier gave none
    ticks: Sequence[tuple[str, Decimal]] = ()  # the policy's limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A category with one cell for each classifier."""

    name: str
    definition: str
    cells: Sequence[Cell]
    is_found: bool
    parts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A classifier in the table's head."""

    source: Source
    name: str
    state: str  # done, failed, skipped, queued
    about: str  # full name, limits, error

    @property
    def mark(self) -> str:
        return {"failed": "×", "skipped": "–", "queued": "…"}.get(self.state, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceMatrix:
    """Found categories first, then the other ones that the policy watches."""

    columns: Sequence[Column]
    rows: Sequence[Row]
    has_ticks: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of the policy that routed an image."""

    per_category: Mapping[str, Thresholds]
    score: Thresholds | None

    def find(self, slug: str) -> Thresholds | None:
        if slug == SCORE:
            return self.score
        return self.per_category.get(slug) or self.per_category.get(slug.partition(".")[0])

    def list_watched(self) -> list[str]:
        watched = {slug.partition(".")[0] for slug in self.per_category}
        return [category.slug for category in taxonomy.L1 if category.slug in watched]


def build_matrix(sources: Iterable[Source], policy: int | None) -> EvidenceMatrix | None:
    """Build the table; None without a classifier that judges content.

    ``policy``: the key of the policy that routed the image.
    """
    shown = [source for source in sources if not classifiers.is_lookup(source.run.classifier)]
    if not shown:
        return None
    limits = load_limits(policy) if policy is not None else Limits({}, None)
    rows = list(_build_rows(shown, limits))
    return EvidenceMatrix(
        columns=[_build_column(source) for source in shown],
        rows=rows,
        has_ticks=any(cell.ticks for row in rows for cell in row.cells),
    )


# Kept in the process, because every decision shows a matrix and a policy in use never changes.
@functools.lru_cache(maxsize=64)
def load_limits(policy: int) -> Limits:
    """Return the limits of a policy that has routed images, by its primary key."""
    per_category: dict[str, Thresholds] = {}
    score = None
    rules = PolicyRule.objects.filter(policy=policy).values_list(
        "category",
        "review_at",
        "blur_at",
        "reject_at",
        "policy__nsfw_review_at",
        "policy__nsfw_reject_at",
    )
    for slug, review_at, blur_at, reject_at, score_review_at, score_reject_at in rules:
        per_category[slug] = Thresholds(review_at=review_at, blur_at=blur_at, reject_at=reject_at)
        score = Thresholds(review_at=score_review_at, reject_at=score_reject_at)
    return Limits(per_category, score)


def _build_column(source: Source) -> Column:
    run = source.run
    waits = f"Waits for {source.waits_for}." if source.waits_for else ""
    about = ". ".join(filter(None, (source.label, run.error or waits or source.limits)))
    return Column(
        source=source,
        name=classifiers.short_label(run.classifier),
        state=str(run.status),
        about=about,
    )


def _build_rows(sources: Sequence[Source], limits: Limits) -> Iterator[Row]:
    found = _rank_found(sources)
    yield from (_build_row(category, sources, limits) for category in found)
    if any(source.run.score is not None for source in sources):
        cells = [_build_score_cell(source, limits) for source in sources]
        yield Row(name="NSFW score", definition="", cells=cells, is_found=True)
    if any(_is_flag_alone(source) for source in sources):
        cells = [_build_flag_cell(source) for source in sources]
        yield Row(name="Flagged, no category", definition="", cells=cells, is_found=True)
    named = {category.l1 for category in found}
    for slug in limits.list_watched():
        if slug not in named:
            yield _build_row(taxonomy.get(slug), sources, limits)


def _rank_found(sources: Iterable[Source]) -> list[Category]:
    """Return the found categories, highest confidence first."""
    best: dict[str, LabelGroup] = {}
    for group in (group for source in sources for group in source.found):
        slug = group.category.slug
        if slug not in best or group.rank > best[slug].rank:
            best[slug] = group
    ranked = sorted(best.values(), key=lambda group: group.rank, reverse=True)
    return [group.category for group in ranked]


def _build_row(category: Category, sources: Sequence[Source], limits: Limits) -> Row:
    groups = [_find_group(source, category.slug) for source in sources]
    return Row(
        name=category.short,
        definition=category.definition,
        cells=[
            _build_cell(source, category.l1, group, limits.find(category.slug))
            for source, group in zip(sources, groups, strict=True)
        ],
        is_found=any(groups),
        parts=max((group.parts for group in groups if group), default=0),
    )


def _find_group(source: Source, slug: str) -> LabelGroup | None:
    return next((group for group in source.found if group.category.slug == slug), None)


def _build_cell(
    source: Source, l1: str, group: LabelGroup | None, limits: Thresholds | None
) -> Cell:
    if group is not None:
        return _build_found_cell(group.confidence, limits)
    if (missing := _build_missing_cell(source)) is not None:
        return missing
    coverage = source.run.covers.get(l1)
    if coverage is None:
        return Cell(state="unseen", text="cannot see it")
    if coverage != Coverage.FULL:
        return Cell(state="partly", text="nothing found, sees it in part")
    return Cell(state="clear", text="nothing found")


def _build_found_cell(confidence: Decimal | None, limits: Thresholds | None) -> Cell:
    ticks = _list_ticks(limits)
    text = "found, no confidence given" if confidence is None else f"{round(confidence)} of 100"
    words = [f"{name} from {round(limit)}" for name, limit in ticks]
    return Cell(state="found", text=", ".join([text, *words]), confidence=confidence, ticks=ticks)


def _list_ticks(limits: Thresholds | None) -> list[tuple[str, Decimal]]:
    if limits is None:
        return []
    named = (
        ("review", limits.review_at),
        ("blur", limits.blur_at),
        ("reject", limits.reject_at),
    )
    return [(name, limit) for name, limit in named if limit is not None]


def _build_score_cell(source: Source, limits: Limits) -> Cell:
    if source.run.score is not None:
        return _build_found_cell(source.run.score, limits.find(SCORE))
    return _build_missing_cell(source) or Cell(state="none", text="gives no score")


def _build_flag_cell(source: Source) -> Cell:
    if _is_flag_alone(source):
        return _build_found_cell(None, None)
    return _build_missing_cell(source) or Cell(state="none", text="not flagged")


def _is_flag_alone(source: Source) -> bool:
    return bool(source.run.flagged) and not source.found and source.run.score is None


def _build_missing_cell(source: Source) -> Cell | None:
    """Return the cell of a classifier without a result; None if it has one."""
    text = NO_CELL_TEXT.get(_Status(source.run.status))
    return None if text is None else Cell(state=str(source.run.status), text=text)
