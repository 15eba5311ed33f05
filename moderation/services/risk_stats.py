"""Count decided and rejected images by properties of their requests, for windows of days.

Decisions are read in order of sequence, as for word stats, and counted on the day on which their
image arrived. A reversal therefore takes back exactly what was counted. Reports sum up the days of
each window, so that a page reads one row.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import Q, QuerySet, Sum
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.utils import timezone

from moderation.judgement.estimates import estimate_wilson
from moderation.models import (
    Decision,
    Review,
    RiskKind,
    RiskProgress,
    RiskReport,
    RiskStats,
)
from moderation.models.risk_stats import KEY_MAX
from moderation.models.word_stats import extract_words
from moderation.services.decision_moves import Move, compute_moves

WINDOWS: Final = (7, 30, 90)
BATCH: Final = 200  # decisions
AT_ONCE: Final = 400  # keys of a statement; SQLite accepts about 1,000 values
RANKED: Final = 100  # properties of each kind in a report
REPORT_EVERY: Final = timedelta(minutes=10)

Place = tuple[date, str, str]  # day, kind, key
Changes = dict[Place, Move]


# --- Counting ---
def count_record(*, go_on: Callable[[], bool]) -> None:
    """Count decisions until none are left, then compute the reports if they are due."""
    while go_on():
        if not count_batch():
            refresh_reports()
            return


@transaction.atomic
def count_batch() -> int:
    """Count the next decisions of the record; return their number."""
    RiskProgress.objects.get_or_create(pk=1, defaults={"sequence": _find_start()})
    # A concurrent worker waits here and then counts the next batch.
    progress = RiskProgress.objects.select_for_update().get(pk=1)
    rows = Decision.objects.filter(sequence__gt=progress.sequence).order_by("sequence")
    batch = list(rows.only("review", "sequence")[:BATCH])
    if not batch:
        return 0
    _store(_list_changes(compute_moves(batch, before=progress.sequence)))
    RiskProgress.objects.filter(pk=1).update(sequence=batch[-1].sequence)
    return len(batch)


def _find_start() -> int:
    """Return the last decision before the longest window: images of that time do not count."""
    since = timezone.now() - timedelta(days=max(WINDOWS))
    rows = Decision.objects.filter(created_at__lt=since).order_by("-created_at", "-sequence")
    return rows.values_list("sequence", flat=True).first() or 0


def _list_changes(moves: Mapping[int, Move]) -> Changes:
    """Return by place how the counts change. Images older than the longest window are left out."""
    prompt = KeyTextTransform("prompt", KeyTransform("scenario", "asset__metadata"))
    rows = Review.objects.filter(pk__in=list(moves), created_at__gte=_start_of_days()).annotate(
        noted=prompt
    )
    changes: Changes = defaultdict(lambda: (0, 0))
    for row in rows.values(
        "pk",
        "noted",
        "created_at",
        "asset__api_key",
        "asset__request__prompt",
        "asset__request__model_name",
        "asset__request__loras",
        "asset__request__requested_by",
        "asset__request__api_key",
    ):
        decided, rejected = moves[row["pk"]]
        day = row["created_at"].astimezone(UTC).date()
        for kind, key in _list_properties(row):
            before = changes[day, kind, key]
            changes[day, kind, key] = (before[0] + decided, before[1] + rejected)
    return changes


def _list_properties(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each property of an image once."""
    arrived: datetime = row["created_at"].astimezone(UTC)
    yield RiskKind.ALL, ""
    yield RiskKind.HOUR, str(arrived.hour)
    yield RiskKind.WEEKDAY, str(arrived.weekday())
    for word in extract_words(row["asset__request__prompt"] or row["noted"] or ""):
        yield RiskKind.WORD, word
    if row["asset__request__model_name"]:
        yield RiskKind.MODEL, row["asset__request__model_name"][:KEY_MAX]
    for name in {lora["model_name"] for lora in row["asset__request__loras"] or ()}:
        yield RiskKind.LORA, name[:KEY_MAX]
    # The person who imported a file is no source of requests.
    if key := row["asset__request__api_key"] or row["asset__api_key"]:
        yield RiskKind.REQUESTER, f"key:{key}"
    elif user := row["asset__request__requested_by"]:
        yield RiskKind.REQUESTER, f"user:{user}"


def _store(changes: Changes) -> None:
    by_kind: dict[tuple[date, str], list[str]] = defaultdict(list)
    for day, kind, key in sorted(changes):
        by_kind[day, kind].append(key)
    rows = []
    for (day, kind), keys in by_kind.items():
        known = _load_known(day, kind, keys)
        for key in keys:
            row = known.get(key) or RiskStats(day=day, kind=kind, key=key)
            decided, rejected = changes[day, kind, key]
            row.decided += decided
            row.rejected += rejected
            rows.append(row)
    RiskStats.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["day", "kind", "key"],
        update_fields=["decided", "rejected"],
        batch_size=150,
    )


def _load_known(day: date, kind: str, keys: Sequence[str]) -> dict[str, RiskStats]:
    known = {}
    for start in range(0, len(keys), AT_ONCE):
        rows = RiskStats.objects.filter(day=day, kind=kind, key__in=keys[start : start + AT_ONCE])
        known.update({row.key: row for row in rows})
    return known


# --- Reports ---
def refresh_reports() -> None:
    """Compute the report of each window, at most every ten minutes."""
    now = timezone.now()
    waits = Q(report_due_at__isnull=True) | Q(report_due_at__lte=now)
    if RiskProgress.objects.filter(waits, pk=1).update(report_due_at=now + REPORT_EVERY):
        compute_reports()


def compute_reports() -> None:
    """Sum up the counts of each window, with one query a kind."""
    now = timezone.now()
    kinds = {kind: _sum_kind(kind, now.date()) for kind in RiskKind.values}
    for days in WINDOWS:
        (_, decided, rejected), *_ = kinds[RiskKind.ALL][days].listed or [("", 0, 0)]
        document = {
            "since": find_first_day(days, now.date()).isoformat(),
            "decided": decided,
            "rejected": rejected,
            "kinds": {kind: kinds[kind][days].to_json() for kind in kinds if kind != RiskKind.ALL},
        }
        RiskReport.objects.update_or_create(
            days=days, defaults={"document": document, "computed_at": now}
        )


def find_first_day(days: int, today: date) -> date:
    """Return the first day of a window that ends with today."""
    return today - timedelta(days=days - 1)


class Ranking:
    """The riskiest properties of one kind: by the lower end of the interval, known ones first."""

    def __init__(self) -> None:
        self.all = self.unknown = 0
        self._kept: list[tuple[float, int, str, int]] = []

    def add(self, key: str, decided: int, rejected: int) -> None:
        if decided <= 0:
            return
        figure = estimate_wilson(rejected, decided)
        self.all += 1
        self.unknown += not figure.is_known
        # Below every known figure, the most images first.
        lower = -1.0 if figure.low is None else figure.low
        entry = (lower, decided, key, rejected)
        if len(self._kept) < RANKED:
            heapq.heappush(self._kept, entry)
        else:
            heapq.heappushpop(self._kept, entry)

    @property
    def listed(self) -> list[tuple[str, int, int]]:
        return [(key, n, hits) for _, n, key, hits in sorted(self._kept, reverse=True)]

    def to_json(self) -> dict[str, Any]:
        return {"all": self.all, "unknown": self.unknown, "listed": self.listed}


def _sum_kind(kind: str, today: date) -> dict[int, Ranking]:
    found = {days: Ranking() for days in WINDOWS}
    for row in _sum_days(kind, today).iterator():
        for days, ranking in found.items():
            ranking.add(row["key"], row[f"decided_{days}"] or 0, row[f"rejected_{days}"] or 0)
    return found


def _sum_days(kind: str, today: date) -> QuerySet[RiskStats, Any]:
    sums = {
        f"{field}_{days}": Sum(field, filter=Q(day__gte=find_first_day(days, today)))
        for field in ("decided", "rejected")
        for days in WINDOWS
    }
    rows = RiskStats.objects.filter(kind=kind, day__gte=find_first_day(max(WINDOWS), today))
    return rows.order_by().values("key").annotate(**sums)


# --- Retention ---
def delete_old_stats(limit: int) -> int:
    """Delete up to ``limit`` rows of days before the longest window; return their number."""
    first = find_first_day(max(WINDOWS), timezone.now().date())
    rows = RiskStats.objects.filter(day__lt=first).order_by("day")
    pks = list(rows.values_list("pk", flat=True)[:limit])
    RiskStats.objects.filter(pk__in=pks).delete()
    return len(pks)


def _start_of_days() -> datetime:
    first = find_first_day(max(WINDOWS), timezone.now().date())
    return datetime(first.year, first.month, first.day, tzinfo=UTC)
