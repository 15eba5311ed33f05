"""Count what classifiers said about decided and waiting images, for the pages of policies.

Decided images are counted in order of the record: each batch compares the status of its images
before and after, so a reversal takes an image back out. Waiting images have no decision to count
them by; a bounded number of the newest is counted anew every few minutes.

An image that is reversed after a classifier ran on it again is taken out with its new confidences.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import Exists, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from moderation import taxonomy
from moderation.models import ChainHead, Decision, Review, ScoreStats, ScoreStatsProgress
from moderation.models.classification_summary import SerializedRuns
from moderation.models.decisions import keep_effective, status_after
from moderation.models.score_stats import BINS, open_bins

BATCH: Final = 200
BATCH_MIN: Final = 50
WAIT_MAX: Final = timedelta(seconds=30)
WAITING_EVERY: Final = timedelta(minutes=5)
WAITING_MAX: Final = 20_000  # images: about two seconds of one core
UNSCORED: Final = -1  # place of a finding without a number
Verdict = ScoreStats.Verdict
Place = tuple[date, str, str]  # day, category, verdict
Counts = dict[Place, dict[int, int]]  # by bin


def find_due() -> QuerySet[ChainHead]:
    """Return the chain head if decisions or waiting images should be counted."""
    now = timezone.now()
    counted = Coalesce(Subquery(ScoreStatsProgress.objects.filter(pk=1).values("sequence")), 0)
    waited = Decision.objects.filter(sequence=counted + 1, created_at__lte=now - WAIT_MAX)
    fresh = ScoreStatsProgress.objects.filter(pk=1, waiting_at__gt=now - WAITING_EVERY)
    return ChainHead.objects.filter(
        Q(sequence__gte=counted + BATCH_MIN)
        | Q(Exists(waited))
        | (~Q(Exists(fresh)) & Q(Exists(Review.objects.waiting())))
    )


def run_due(*, go_on: Callable[[], bool]) -> None:
    """Count decisions until none are left, then the waiting images if their count is old."""
    while go_on() and count_batch():
        pass
    progress = ScoreStatsProgress.objects.filter(pk=1).first()
    is_fresh = (
        progress and progress.waiting_at and progress.waiting_at > timezone.now() - WAITING_EVERY
    )
    if go_on() and not is_fresh:
        count_waiting()


# --- Decided images ---
@transaction.atomic
def count_batch() -> int:
    """Count the next decisions of the record; return their number."""
    ScoreStatsProgress.objects.get_or_create(pk=1)
    # A concurrent worker waits here and then counts the next batch.
    progress = ScoreStatsProgress.objects.select_for_update().get(pk=1)
    rows = Decision.objects.filter(sequence__gt=progress.sequence).order_by("sequence")
    batch = list(rows.only("sequence", "review")[:BATCH])
    if not batch:
        return 0
    newest = batch[-1].sequence
    moves = _compute_moves({row.review_id for row in batch}, progress.sequence, newest)
    counts: Counts = defaultdict(lambda: defaultdict(int))
    for review in Review.objects.filter(pk__in=list(moves)).only(
        "created_at", "classification_summary"
    ):
        before, after = moves[review.pk]
        for verdict, by in ((before, -1), (after, 1)):
            if verdict:
                _add(counts, review, verdict, by)
    _store(counts)
    ScoreStatsProgress.objects.filter(pk=1).update(sequence=newest)
    return len(batch)


def _compute_moves(reviews: Iterable[int], before: int, newest: int) -> dict[int, tuple[str, str]]:
    """Return the verdicts of each review before and after a batch; "" for none in effect."""
    rows = Decision.objects.filter(review__in=list(reviews), sequence__lte=newest)
    lean = rows.select_related("second_of").only(
        *("review", "verdict", "is_blurred", "reverses", "sequence"),
        *("second_of__verdict", "second_of__is_blurred"),
    )
    of_review: dict[int, list[Decision]] = defaultdict(list)
    for row in lean.order_by("sequence"):
        of_review[row.review_id].append(row)
    moves = {}
    for primary_key, decisions in of_review.items():
        old = _read_verdict(row for row in decisions if row.sequence <= before)
        new = _read_verdict(decisions)
        if old != new:
            moves[primary_key] = (old, new)
    return moves


def _read_verdict(decisions: Iterable[Decision]) -> str:
    status = status_after(keep_effective(decisions))
    return {Review.Status.APPROVED: Verdict.APPROVED, Review.Status.REJECTED: Verdict.REJECTED}.get(
        status, ""
    )


# --- Waiting images ---
def count_waiting() -> None:
    """Count the newest waiting images, and replace the last count."""
    waiting = Review.objects.filter(
        status__in=[Review.Status.PENDING, Review.Status.ESCALATED], decided_at__isnull=True
    )
    counts: Counts = defaultdict(lambda: defaultdict(int))
    chosen = list(waiting.order_by("-pk").values_list("pk", flat=True)[: WAITING_MAX + 1])
    for start in range(0, min(len(chosen), WAITING_MAX), BATCH):
        chunk = chosen[start : min(start + BATCH, WAITING_MAX)]
        for review in Review.objects.filter(pk__in=chunk).only(
            "created_at", "classification_summary"
        ):
            _add(counts, review, Verdict.WAITING, 1)
    uncounted = waiting.count() - WAITING_MAX if len(chosen) > WAITING_MAX else 0
    with transaction.atomic():
        ScoreStatsProgress.objects.get_or_create(pk=1)
        ScoreStatsProgress.objects.select_for_update().get(pk=1)
        ScoreStats.objects.filter(verdict=Verdict.WAITING).delete()
        _store(counts)
        ScoreStatsProgress.objects.filter(pk=1).update(
            waiting_at=timezone.now(), uncounted=max(0, uncounted)
        )


# --- One image ---
def _add(counts: Counts, review: Review, verdict: str, by: int) -> None:
    day = review.created_at.astimezone(UTC).date()
    counts[day, "", verdict][UNSCORED] += by
    for category, place in find_highest(review.classification_summary or []).items():
        counts[day, category, verdict][place] += by


def find_highest(summary: SerializedRuns) -> dict[str, int]:
    """Return the bin of the highest confidence by category, of L1s with their L2s.

    A category that was only found without a number has UNSCORED.
    """
    highest: dict[str, int] = {}
    for run in summary:
        for category, confidence, _ in run["parts"]:
            place = UNSCORED if confidence is None else min(int(float(confidence)), BINS - 1)
            for slug in {category, taxonomy.get(category).l1}:
                highest[slug] = max(highest.get(slug, UNSCORED), place)
    return highest


def _store(counts: Counts) -> None:
    """Add counts to the stored rows. The caller holds the lock of the progress."""
    days = {day for day, _, _ in counts}
    rows = {
        (row.day, row.category, row.verdict): row
        for row in ScoreStats.objects.filter(day__in=days)
        if (row.day, row.category, row.verdict) in counts
    }
    for place, changes in counts.items():
        day, category, verdict = place
        row = rows.setdefault(place, ScoreStats(day=day, category=category, verdict=verdict))
        for index, by in changes.items():
            if index == UNSCORED:
                row.unscored += by
            else:
                row.bins[index] += by
    ScoreStats.objects.bulk_create(
        rows.values(),
        update_conflicts=True,
        unique_fields=["day", "category", "verdict"],
        update_fields=["bins", "unscored"],
        batch_size=200,
    )


# --- For pages ---
@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryScores:
    """Histogram of one category: images by bin of the highest confidence, for each verdict."""

    bins: Mapping[str, Sequence[int]]
    unscored: int

    @property
    def scored(self) -> int:
        return sum(map(sum, self.bins.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Histograms of all categories for the images of some days."""

    images: int
    by_category: Mapping[str, CategoryScores]
    counted_at: datetime | None
    uncounted: int

    def of(self, category: str) -> CategoryScores:
        empty = CategoryScores(
            bins={verdict: open_bins() for verdict in Verdict.values}, unscored=0
        )
        return self.by_category.get(category, empty)


def read_scores(days: int) -> Scores:
    """Return the sums of the last days, from the stored counts alone."""
    since = timezone.now().date() - timedelta(days=days - 1)
    bins: dict[str, dict[str, list[int]]] = {}
    unscored: dict[str, int] = defaultdict(int)
    rows = ScoreStats.objects.filter(day__gte=since)
    for category, verdict, counted, without in rows.values_list(
        "category", "verdict", "bins", "unscored"
    ):
        sums = bins.setdefault(category, {name: open_bins() for name in Verdict.values})
        sums[verdict] = [
            max(0, one + other) for one, other in zip(sums[verdict], counted, strict=True)
        ]
        unscored[category] += without
    progress = ScoreStatsProgress.objects.filter(pk=1).first()
    return Scores(
        images=max(0, unscored.pop("", 0)),
        by_category={
            slug: CategoryScores(bins=sums, unscored=max(0, unscored[slug]))
            for slug, sums in bins.items()
            if slug
        },
        counted_at=progress.waiting_at if progress else None,
        uncounted=progress.uncounted if progress else 0,
    )
