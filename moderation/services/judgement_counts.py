"""Count what classifiers said about images, against what people decided, in small steps.

The counts are JSON, so that a computation can pause at any image and go on in another process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from moderation import classifiers, taxonomy
from moderation.models import Audit, Classification, Decision, Label, Review, Verdict
from moderation.policy_engine import Rules
from moderation.services.truth import Truth, find_standing, map_decisions, read_truth

Counts = dict[str, Any]
SEPARATOR: Final = "\t"  # in keys; no slug or version has it
BATCH: Final = 200  # images in a step; SQLite accepts about 1,000 values in a statement


def open_counts() -> Counts:
    """Return counts of nothing."""
    return {
        "cells": {},
        "kappa": {},
        "pairs": {},
        "drawn": 0,
        "answered": 0,
        "decided": 0,
    }


def open_cell() -> Counts:
    """Return the counts of one version of a classifier and one category."""
    return {
        "blind": [0, 0],  # flagged images in audits: with the category, without it
        "influenced": [0, 0],  # the same in decisions made with results on screen
        # By stratum and probability, of silent images that the policy approved: drawn, answered,
        # with the category.
        "strata": {},
        "seen": [0, 0],  # silent images that a person decided: all, with the category
        "bins": {},  # by confidence, of audited images: all, with the category
        "weeks": {},  # by source and week, of flagged images: with the category, all
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image with what people decided and what classifiers said."""

    review: Review
    truth: Truth
    runs: tuple[Classification, ...]
    decided_at: datetime | None
    audit: Audit | None = None


def count_audits(
    counts: Counts, audits: Collection[Audit], rules: Rules, watched: dict[int, set[str]]
) -> None:
    """Count audits, answered or not."""
    by_review = {row.decision.review_id: row for row in audits}
    for image in _load_images(by_review, watched):
        counts["drawn"] += 1
        counts["answered"] += image.decided_at is not None
        _count_image(counts, image, rules)


def count_decisions(
    counts: Counts, decisions: Collection[Decision], rules: Rules, watched: dict[int, set[str]]
) -> None:
    """Count people's decisions, each image with the decision that stands."""
    audited = set(
        Audit.objects.filter(decision__review__in={row.review_id for row in decisions}).values_list(
            "decision__review", flat=True
        )
    )
    here = {row.pk for row in decisions}
    reviews = {row.review_id: None for row in decisions if row.review_id not in audited}
    for row in decisions:
        _count_opinions(counts, row)
    for image in _load_images(reviews, watched, standing_in=here):
        counts["decided"] += 1
        _count_image(counts, image, rules)


def _load_images(
    by_review: dict[int, Audit] | dict[int, None],
    watched: dict[int, set[str]],
    *,
    standing_in: Collection[int] | None = None,
) -> Iterator[Image]:
    """Yield images; with ``standing_in``, only those whose standing decision is one of these."""
    history = map_decisions(by_review)
    reviews = Review.objects.in_bulk(by_review)
    done = Classification.objects.filter(
        asset__in=[review.asset_id for review in reviews.values()],
        status=Classification.Status.DONE,
    )
    runs: dict[int, list[Classification]] = {}
    for run in done.order_by("pk").prefetch_related("labels"):
        if not classifiers.is_lookup(run.classifier):
            runs.setdefault(run.asset_id, []).append(run)
    for pk, audit in by_review.items():
        standing = find_standing(history[pk])
        if standing_in is not None and (standing is None or standing.pk not in standing_in):
            continue
        yield Image(
            review=reviews[pk],
            truth=read_truth(standing, watched),
            runs=tuple(runs.get(reviews[pk].asset_id, ())),
            decided_at=standing.created_at if standing else None,
            audit=audit,
        )


def _count_image(counts: Counts, image: Image, rules: Rules) -> None:
    verdicts: dict[tuple[str, str], dict[str, bool]] = {}
    for run in image.runs:
        labels = list(run.labels.all())
        flagged = _list_flagged(labels, rules)
        for slug in _list_judged(run, labels, rules):
            key = SEPARATOR.join((run.classifier, run.version, slug))
            cell = counts["cells"].setdefault(key, open_cell())
            _count_cell(cell, image, slug, is_flagged=slug in flagged)
            if image.audit is not None:
                _count_bin(cell, image.truth.shows(slug), _find_confidence(labels, slug))
            verdicts.setdefault((run.classifier, slug), {})[run.version] = slug in flagged
    _count_pairs(counts["pairs"], image.truth, verdicts)


def _list_judged(run: Classification, labels: Iterable[Label], rules: Rules) -> Iterator[str]:
    """Yield the categories that a run judged and the policy watches, both levels."""
    seen = {*run.covers, *(taxonomy.get(label.category).l1 for label in labels)}
    for l1 in sorted(seen & rules.watched):
        yield l1
        yield from (child.slug for child in taxonomy.list_children(l1))


def _list_flagged(labels: Iterable[Label], rules: Rules) -> set[str]:
    """Return the categories on whose confidence the policy acts, with the L1 category of each."""
    flagged = set()
    for label in labels:
        limits = rules.for_category(label.category)
        if limits is None:
            continue
        every = (limits.review_at, limits.blur_at, limits.reject_at)
        known = [limit for limit in every if limit is not None]
        if label.confidence is None or (known and label.confidence >= min(known)):
            flagged |= {label.category, taxonomy.get(label.category).l1}
    return flagged


def _find_confidence(labels: Iterable[Label], slug: str) -> Decimal | None:
    """Return the highest confidence in a category or, for an L1, in its second levels."""
    numbers = [
        label.confidence
        for label in labels
        if label.confidence is not None
        and slug in (label.category, taxonomy.get(label.category).l1)
    ]
    return max(numbers, default=None)


def _count_cell(cell: Counts, image: Image, slug: str, *, is_flagged: bool) -> None:
    shows, audit = image.truth.shows(slug), image.audit
    if is_flagged:
        if shows is None:
            return
        cell["blind" if audit else "influenced"][0 if shows else 1] += 1
        if image.decided_at is not None:
            _add_pair(cell["weeks"], _name_week(image), (int(shows), 1))
    elif audit is None:
        if shows is not None:
            cell["seen"] = [cell["seen"][0] + 1, cell["seen"][1] + shows]
    elif audit.decision.verdict == Verdict.APPROVE:
        key = SEPARATOR.join((str(audit.stratum), str(audit.probability)))
        drawn, answered, misses = cell["strata"].get(key, (0, 0, 0))
        cell["strata"][key] = [drawn + 1, answered + (shows is not None), misses + bool(shows)]


def _count_bin(cell: Counts, shows: bool | None, confidence: Decimal | None) -> None:
    if shows is not None and confidence is not None:
        _add_pair(cell["bins"], str(int(confidence)), (1, int(shows)))


def _name_week(image: Image) -> str:
    assert image.decided_at is not None
    year, week, _ = image.decided_at.astimezone(UTC).isocalendar()
    return SEPARATOR.join((image.review.source, f"{year}-W{week:02}"))


def _add_pair(pairs: Counts, key: str, more: tuple[int, int]) -> None:
    first, second = pairs.get(key, (0, 0))
    pairs[key] = [first + more[0], second + more[1]]


def _count_pairs(
    pairs: Counts, truth: Truth, verdicts: dict[tuple[str, str], dict[str, bool]]
) -> None:
    """Count images on which only one of two versions of a classifier is right."""
    for (classifier, slug), by_version in verdicts.items():
        shows = truth.shows(slug)
        if shows is None or len(by_version) < 2:
            continue
        versions = list(by_version)
        for place, first in enumerate(versions):
            for second in versions[place + 1 :]:
                key = SEPARATOR.join((classifier, first, second, slug))
                right = (by_version[first] == shows, by_version[second] == shows)
                only = (int(right == (True, False)), int(right == (False, True)))
                _add_pair(pairs, key, only)


def _count_opinions(counts: Counts, second: Decision) -> None:
    """Count by L1 category which of two people named it; an escalation is no opinion."""
    first = second.second_of
    if first is None or first.by_policy:
        return
    if {first.verdict, second.verdict} - {Verdict.APPROVE, Verdict.REJECT}:
        return
    if hasattr(second, "reversed_by") or hasattr(first, "reversed_by"):
        return
    named = [{slug.partition(".")[0] for slug in row.categories} for row in (first, second)]
    for l1 in taxonomy.L1:
        table = Counter({(a, b): 0 for a in (0, 1) for b in (0, 1)})
        table[l1.slug in named[0], l1.slug in named[1]] += 1
        before = counts["kappa"].get(l1.slug, [0, 0, 0, 0])
        counts["kappa"][l1.slug] = [
            old + table[place] for old, place in zip(before, sorted(table), strict=True)
        ]
