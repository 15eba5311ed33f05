"""Count the record in the background, into word stats, daily stats and risk stats.

Decisions are read in order of sequence, in batches. The counts of a batch and the new position are
committed together under a lock on the progress row: each batch is counted exactly once, with any
number of workers and after crashes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta

from django.db import transaction
from django.db.models import Exists, F, Q, QuerySet, Subquery
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Coalesce, Least
from django.utils import timezone

from moderation.models import (
    ChainHead,
    Decision,
    Review,
    RiskProgress,
    WordStats,
    WordStatsProgress,
)
from moderation.models.word_stats import extract_words
from moderation.services import daily_stats, risk_stats
from moderation.services.decision_moves import Move, compute_moves

BATCH = 200
# The numbers are not urgent: run only for a batch of some size or age.
BATCH_MIN = 50
WAIT_MAX = timedelta(seconds=30)


def find_due() -> QuerySet[ChainHead]:
    """Return the chain head if enough of the record is not counted yet."""
    counted = Least(_find_counted(WordStatsProgress), _find_counted(RiskProgress))
    waited = Decision.objects.filter(
        sequence=counted + 1, created_at__lte=timezone.now() - WAIT_MAX
    )
    return ChainHead.objects.filter(Q(sequence__gte=counted + BATCH_MIN) | Q(Exists(waited)))


def _find_counted(model: type[WordStatsProgress] | type[RiskProgress]) -> Coalesce:
    return Coalesce(Subquery(model.objects.filter(pk=1).values("sequence")), 0)


def count_record(*, go_on: Callable[[], bool]) -> None:
    """Count decisions until none are left."""
    while go_on() and count_batch():
        pass
    risk_stats.count_record(go_on=go_on)


@transaction.atomic
def count_batch() -> int:
    """Count the next decisions of the record; return their number."""
    WordStatsProgress.objects.get_or_create(pk=1)
    # A concurrent worker waits here and then counts the next batch.
    progress = WordStatsProgress.objects.select_for_update().get(pk=1)
    rows = Decision.objects.filter(sequence__gt=progress.sequence).order_by("sequence")
    batch = list(rows.select_related("review", "second_of", "reverses__second_of")[:BATCH])
    if not batch:
        return 0
    daily_stats.count_decisions(batch)
    decided, rejected = _count_words(compute_moves(batch, before=progress.sequence))
    WordStatsProgress.objects.filter(pk=1).update(
        sequence=batch[-1].sequence,
        decided=F("decided") + decided,
        rejected=F("rejected") + rejected,
    )
    return len(batch)


def _count_words(moves: Mapping[int, Move]) -> Move:
    """Add the moves to word stats; return the sums over images that have a prompt."""
    elsewhere = KeyTextTransform("prompt", KeyTransform("scenario", "asset__metadata"))
    reviews = Review.objects.filter(pk__in=list(moves)).annotate(noted=elsewhere)
    # Images of one request share a prompt: split each prompt once.
    by_prompt: dict[str, list[Move]] = defaultdict(list)
    for primary_key, prompt, noted in reviews.values_list("pk", "asset__request__prompt", "noted"):
        if prompt or noted:
            by_prompt[prompt or noted].append(moves[primary_key])
    changes: dict[str, list[Move]] = defaultdict(list)
    for prompt, of_images in by_prompt.items():
        for word in extract_words(prompt):
            changes[word].append(_sum_moves(of_images))
    _store_changes({word: _sum_moves(parts) for word, parts in changes.items()})
    return _sum_moves(move for of_images in by_prompt.values() for move in of_images)


def _sum_moves(moves: Iterable[Move]) -> Move:
    decided = rejected = 0
    for one, other in moves:
        decided, rejected = decided + one, rejected + other
    return decided, rejected


def _store_changes(changes: Mapping[str, Move]) -> None:
    known = WordStats.objects.in_bulk(list(changes))
    rows = [known.get(word) or WordStats(word=word) for word in sorted(changes)]
    for row in rows:
        row.decided += changes[row.word][0]
        row.rejected += changes[row.word][1]
    WordStats.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["word"],
        update_fields=["decided", "rejected"],
        batch_size=200,
    )
