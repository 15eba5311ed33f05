"""Figures on classifiers: how precise they are, what they miss, and whether that changes.

A job computes them for each window from the record, in steps. Only audits are blind. Decisions made
with results on screen are influenced: they give figures of their own, which say so, and the part of
the recall that was found. No estimate of misses uses them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from moderation import taxonomy
from moderation.judgement.agreement import compare_versions, estimate_kappa
from moderation.judgement.audits import (
    Stratum,
    estimate_miss_rate,
    estimate_recall,
    find_miss_rate_upper,
)
from moderation.judgement.calibration import measure_reliability
from moderation.judgement.drift import chart_weeks
from moderation.judgement.estimates import MINIMUM, Figure, estimate_wilson
from moderation.models import Audit, Decision, JudgementReport, Policy
from moderation.models.judgement_reports import WINDOWS
from moderation.policy_engine import Rules
from moderation.services import judgement_counts
from moderation.services.classification import build_rules
from moderation.services.judgement_counts import BATCH, SEPARATOR, Counts
from moderation.services.truth import map_watched

INTERVAL: Final = timedelta(hours=1)
LEASE: Final = timedelta(minutes=2)
# The newest decisions that a window reads: half a minute of one core, at 0.6 ms an image.
DECISIONS_MAX: Final = 50_000
# A stratum without an answer is left out while so few of its images wait; with more, nothing is
# known.
UNANSWERED_MAX: Final = 5
SAMPLE: Final = (
    "Audits: drawn by the hash of the policy's decision, with a stored probability for each "
    "stratum of the highest confidence; answered without decision and results. Influenced: "
    "people's other decisions, made with results on screen; not a random sample."
)


def add_reports() -> None:
    """Create missing rows of reports when a worker starts. A window runs only if it has a row."""
    now = timezone.now()
    JudgementReport.objects.bulk_create(
        [JudgementReport(days=days, due_at=now) for days in WINDOWS], ignore_conflicts=True
    )


# --- The job ---
def run_due(*, go_on: Callable[[], bool]) -> None:
    """Compute the figures of the windows that are due."""
    while go_on():
        claimed = JudgementReport.objects.claim(limit=1, lease=LEASE)
        if not claimed:
            return
        _compute(claimed[0], go_on)


def _compute(report: JudgementReport, go_on: Callable[[], bool]) -> None:
    """Count in steps; each step and its position are committed together."""
    held = JudgementReport.objects.filter(pk=report.pk, lease=report.lease)
    policy = Policy.objects.active()
    progress = report.progress
    if not progress or progress["policy"] != policy.version:
        progress = _open_progress(report.days, policy)
    rules, watched = build_rules(policy), map_watched()
    while not progress["finished"]:
        _take_step(progress, rules, watched)
        if not held.update(progress=progress, due_at=timezone.now() + LEASE):
            return  # another worker has taken it over
        if not go_on():
            held.update(due_at=timezone.now(), lease=None)
            return
    with transaction.atomic():
        held.update(
            document=build_document(progress),
            bounds=_find_bounds(progress["counts"]),
            computed_at=timezone.now(),
            progress={},
            due_at=timezone.now() + INTERVAL,
        )


def _open_progress(days: int, policy: Policy) -> dict[str, Any]:
    now = timezone.now()
    since = now - timedelta(days=days)
    newest = Decision.objects.order_by("-sequence").values_list("sequence", flat=True).first() or 0
    before = (
        Decision.objects.filter(created_at__lt=since)
        .order_by("-created_at", "-sequence")
        .values_list("sequence", flat=True)
        .first()
    )
    return {
        "since": since.isoformat(),
        "until": now.isoformat(),
        "days": days,
        "policy": policy.version,
        "audit": 0,
        "sequence": max(before or 0, newest - DECISIONS_MAX),
        "newest": newest,
        "counts": judgement_counts.open_counts(),
        "finished": False,
    }


def _take_step(progress: dict[str, Any], rules: Rules, watched: dict[int, set[str]]) -> None:
    """Count the next audits or, after the last one, the next decisions."""
    rows = Audit.objects.filter(
        pk__gt=progress["audit"],
        created_at__gte=datetime.fromisoformat(progress["since"]),
        decision__sequence__lte=progress["newest"],
    )
    audits = list(rows.select_related("decision").order_by("pk")[:BATCH])
    if audits:
        judgement_counts.count_audits(progress["counts"], audits, rules, watched)
        progress["audit"] = audits[-1].pk
        return
    decisions = Decision.objects.filter(
        sequence__gt=progress["sequence"], sequence__lte=progress["newest"], by_policy=False
    ).select_related("second_of__reversed_by", "reversed_by")
    batch = list(decisions.order_by("sequence")[:BATCH])
    if not batch:
        progress["finished"] = True
        return
    judgement_counts.count_decisions(progress["counts"], batch, rules, watched)
    progress["sequence"] = batch[-1].sequence


# --- From counts to figures ---
def read_strata(cell: Counts) -> list[Stratum] | None:
    """Return the strata of silent images that the policy approved; None if one is not answered."""
    strata = []
    for key, (drawn, answered, misses) in cell["strata"].items():
        probability = float(key.partition(SEPARATOR)[2])
        if answered:
            strata.append(Stratum.of_probability(probability, answered, misses))
        elif drawn >= UNANSWERED_MAX:
            return None
    return strata


def _find_bounds(counts: Counts) -> dict[str, dict[str, float]]:
    """Return the upper bounds of the miss rates that are known, in percent."""
    bounds: dict[str, dict[str, float]] = {}
    for key, cell in counts["cells"].items():
        classifier, version, slug = key.split(SEPARATOR)
        strata = read_strata(cell)
        if "." in slug or strata is None or sum(row.audited for row in strata) < MINIMUM:
            continue
        upper = find_miss_rate_upper(strata)
        if upper is not None:
            bounds.setdefault(f"{classifier} {version}", {})[slug] = 100 * upper
    return bounds


def build_document(progress: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of finished counts as JSON."""
    counts = progress["counts"]
    ceilings = {
        slug: estimate_kappa([table[:2], table[2:]]) for slug, table in counts["kappa"].items()
    }
    return {
        "days": progress["days"],
        "since": progress["since"],
        "until": progress["until"],
        "policy": progress["policy"],
        "sample": SAMPLE,
        "audits": {"drawn": counts["drawn"], "answered": counts["answered"]},
        "decisions": counts["decided"],
        "figures": [
            _build_row(key, cell, ceilings) for key, cell in sorted(counts["cells"].items())
        ],
        "comparisons": [
            _build_comparison(key, *pair) for key, pair in sorted(counts["pairs"].items())
        ],
    }


def _build_row(key: str, cell: Counts, ceilings: Mapping[str, Figure]) -> dict[str, Any]:
    classifier, version, slug = key.split(SEPARATOR)
    strata = read_strata(cell)
    usable = strata or []
    seen, missed = cell["seen"]
    found = cell["influenced"][0] + cell["blind"][0]
    silent = [*usable, Stratum(seen, seen, missed)]
    recall = (
        estimate_recall(found, silent)
        if usable and sum(row.audited for row in usable) >= MINIMUM
        else Figure.of_unknown(sum(row.audited for row in usable))
    )
    return {
        "classifier": classifier,
        "version": version,
        "category": slug,
        "precision": _pack(_estimate_precision(cell["blind"])),
        "precision_influenced": _pack(_estimate_precision(cell["influenced"])),
        "miss_rate": _pack(
            estimate_miss_rate(usable) if strata is not None else Figure.of_unknown(0)
        ),
        "recall": _pack(recall),
        "calibration": _measure_calibration(cell["bins"]),
        "kappa": _pack(ceilings.get(taxonomy.get(slug).l1, Figure.of_unknown(0))),
        "weeks": list(_chart(cell["weeks"])),
    }


def _estimate_precision(pair: list[int]) -> Figure:
    return estimate_wilson(pair[0], sum(pair))


def _pack(figure: Figure) -> dict[str, Any]:
    return {
        "value": figure.value,
        "low": figure.low,
        "high": figure.high,
        "n": figure.n,
    }


def _measure_calibration(bins: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """Return ECE, Brier score and reliability diagram; null if there are too few images."""
    probabilities, outcomes = [], []
    for confidence, (n, hits) in sorted(bins.items(), key=lambda item: int(item[0])):
        probabilities += [int(confidence) / 100] * n
        outcomes += [True] * hits + [False] * (n - hits)
    if len(outcomes) < MINIMUM:
        return {"n": len(outcomes), "ece": None, "brier": None, "bins": []}
    measured = measure_reliability(probabilities, outcomes)
    return {
        "n": measured.n,
        "ece": measured.ece,
        "brier": measured.brier,
        "bins": [{"mean": part.mean, **_pack(part.observed)} for part in measured.bins],
    }


def _chart(weeks: Mapping[str, tuple[int, int]]) -> Iterator[dict[str, Any]]:
    """Yield the weekly precision of each source with its control limits."""
    by_source: dict[str, list[tuple[str, int, int]]] = {}
    for key, (hits, n) in sorted(weeks.items()):
        source, week = key.split(SEPARATOR)
        by_source.setdefault(source, []).append((week, hits, n))
    for source, rows in by_source.items():
        charted = chart_weeks([(hits, n) for _, hits, n in rows])
        for (week, _, _), point in zip(rows, charted, strict=True):
            yield {
                "source": source,
                "week": week,
                "value": point.value,
                "low": point.low,
                "high": point.high,
                "n": point.n,
                "is_signal": point.is_signal,
            }


def _build_comparison(key: str, only_first: int, only_second: int) -> dict[str, Any]:
    classifier, first, second, slug = key.split(SEPARATOR)
    return {
        "classifier": classifier,
        "first": first,
        "second": second,
        "category": slug,
        "only_first": only_first,
        "only_second": only_second,
        "p_value": compare_versions(only_first, only_second).p_value,
    }
