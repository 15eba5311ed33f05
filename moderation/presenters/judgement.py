"""The figures on classifiers for programs and people: JSON, CSV and text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any, Final

from moderation import classifiers, taxonomy
from moderation.models import JudgementReport
from moderation.models.judgement_reports import WINDOWS
from moderation.services.exports.escaping import escape_cell

FIGURES: Final = {
    "precision": "Precision, blind",
    "precision_influenced": "Precision, influenced",
    "miss_rate": "Misses among “nothing found”",
    "recall": "Recall",
    "kappa": "Kappa of people",
}
COLUMNS: Final = (
    "classifier",
    "version",
    "category",
    "figure",
    "value",
    "low",
    "high",
    "n",
    "days",
    "since",
    "until",
    "policy",
)
DAYS_DEFAULT: Final = 90


def find_document(days: int) -> dict[str, Any]:
    """Return the figures of a window; without figures, a document that says so."""
    report = JudgementReport.objects.filter(days=days).first()
    if report is None or report.computed_at is None:
        return {"days": days, "computed_at": None, "is_stale": True, "figures": []}
    return {
        **report.document,
        "computed_at": report.computed_at.isoformat(),
        "is_stale": report.is_stale,
    }


def parse_days(text: str) -> int | None:
    """Return a window in days, the longest one by default; None if there is no such window."""
    if not text:
        return DAYS_DEFAULT
    return int(text) if text in {str(days) for days in WINDOWS} else None


def write_csv(document: dict[str, Any]) -> str:
    """Return the figures as CSV, one a line. A figure that is not known has no value."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for row in document["figures"]:
        for name, figure in _iter_figures(row):
            names = [row["classifier"], row["version"], row["category"], name]
            numbers = [_format_cell(figure[part]) for part in ("value", "low", "high", "n")]
            window = [document[part] for part in ("days", "since", "until", "policy")]
            writer.writerow([*map(escape_cell, names), *numbers, *window])
    return file.getvalue()


def _iter_figures(row: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in FIGURES:
        yield name, row[name]
    measured = row["calibration"]
    for name in ("ece", "brier"):
        yield name, {"value": measured[name], "low": None, "high": None, "n": measured["n"]}


def _format_cell(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def describe(document: dict[str, Any]) -> str:
    """Return the figures as text; categories of which nothing is known are left out."""
    if document["computed_at"] is None:
        return "No figures yet. The worker computes them once an hour.\n"
    audits = document["audits"]
    lines = [
        f"Figures of {document['days']} days until {document['until'][:16]} UTC, by the"
        f" thresholds of policy version {document['policy']}.",
        f"Audits: {audits['answered']} of {audits['drawn']} answered. Decisions:"
        f" {document['decisions']}.",
        document["sample"],
    ]
    if document["is_stale"]:
        lines.append("These figures are older than a day: no trust is based on them.")
    for row in document["figures"]:
        known = [
            f"  {label}: {_format_figure(row[name])}"
            for name, label in FIGURES.items()
            if row[name]["n"]
        ]
        if any("not known" not in line for line in known):
            name = taxonomy.join_names([row["category"]])
            lines += [
                "",
                f"{classifiers.label(row['classifier'])} {row['version']}, {name}",
                *known,
            ]
    return "\n".join(lines) + "\n"


def _format_figure(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return f"not known, n = {figure['n']}"
    low, value, high = (f"{figure[part]:.4f}" for part in ("low", "value", "high"))
    return f"{value} ({low} to {high}), n = {figure['n']}"
