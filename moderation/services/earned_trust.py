"""Earned trust: the bounds of misses by which a policy counts the silence of a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from moderation.models import EarnedTrust, JudgementReport, Policy

# By classifier and version, then by L1 slug: percent.
Bounds = Mapping[tuple[str, str], Mapping[str, Decimal]]


def read_bounds(policy: Policy) -> Bounds:
    """Return the bounds that a policy's rows of earned trust refer to.

    A window without figures, or with figures older than a day, gives none: trust expires with the
    worker that measures it.
    """
    rows = list(policy.earned_trusts.all())
    if not rows:
        return {}
    reports = {
        report.days: report
        for report in JudgementReport.objects.filter(days__in={row.days for row in rows}).defer(
            "document", "progress"
        )
        if not report.is_stale
    }
    found: dict[tuple[str, str], dict[str, Decimal]] = {}
    for row in rows:
        _add_bounds(found, row, reports.get(row.days))
    return found


def _add_bounds(
    found: dict[tuple[str, str], dict[str, Decimal]],
    row: EarnedTrust,
    report: JudgementReport | None,
) -> None:
    for key, of_category in (report.bounds if report else {}).items():
        classifier, _, version = key.partition(" ")
        if classifier == row.classifier and row.category in of_category:
            bound = Decimal(str(of_category[row.category]))
            found.setdefault((classifier, version), {})[row.category] = bound


def find_bounds(bounds: Bounds, classifier: str, version: str) -> Mapping[str, Decimal]:
    """Return the bounds of one version of a classifier; another version has to earn its own."""
    return bounds.get((classifier, version), {})
