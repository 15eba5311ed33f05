"""The results of all classifiers for one image, in the form stored with its review."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from moderation.matches import Match, read_matches
from moderation.models.classifications import Classification

SerializedRuns = list[dict[str, Any]]  # JSON types only; confidences and scores are strings


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSummary:
    """A label: a category, and its position in the image if the classifier gives one."""

    category: str
    confidence: Decimal | None  # 0 to 100; None if the classifier gives none
    box: Sequence[float] | None  # left, top, width, height as fractions of the image


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A classification, reduced to the fields that people see."""

    classifier: str
    status: str
    flagged: bool | None
    score: Decimal | None  # 0 to 100
    error: str
    covers: Mapping[str, str]  # L1 slug to coverage
    details: Mapping[str, Sequence[str]]  # category to the classifier's own labels
    parts: Sequence[LabelSummary]
    matches: Sequence[Match] = ()
    is_held: bool = False  # until classifiers of earlier stages have ended


def serialize(runs: Iterable[Classification]) -> SerializedRuns:
    """Return the JSON form of classifications.

    ``runs`` must have their labels and be in display order. Those that are no evidence are left
    out.
    """
    return [
        {
            "classifier": run.classifier,
            "status": run.status,
            "flagged": run.flagged,
            "score": _format_number(run.score),
            "error": run.error,
            "covers": run.covers,
            "details": _read_details(run),
            "parts": [
                [label.category, _format_number(label.confidence), label.box]
                for label in sorted(run.labels.all(), key=lambda label: label.pk)
            ],
            **_read_known(run),
            **({"held": True} if run.is_held else {}),
        }
        for run in runs
        if run.is_evidence
    ]


def deserialize(packed: SerializedRuns) -> list[RunSummary]:
    """Return the runs stored by ``serialize``."""
    return [
        RunSummary(
            classifier=run["classifier"],
            status=run["status"],
            flagged=run["flagged"],
            score=_parse_number(run["score"]),
            error=run["error"],
            covers=run["covers"],
            details=run["details"],
            parts=[
                LabelSummary(category=category, confidence=_parse_number(confidence), box=box)
                for category, confidence, box in run["parts"]
            ],
            matches=read_matches(run),
            is_held=run.get("held", False),
        )
        for run in packed
    ]


def remove_words(packed: SerializedRuns) -> SerializedRuns:
    """Return runs without classifiers' own words for what they found."""
    return [{**run, "details": {}} for run in packed]


def _read_details(run: Classification) -> dict[str, Any]:
    found = run.raw.get("details") if isinstance(run.raw, dict) else None
    return found if isinstance(found, dict) else {}


def _read_known(run: Classification) -> dict[str, Any]:
    """Return the matches, for the few classifications that have any."""
    matches = read_matches(run.raw)
    return {"matches": [match.to_json() for match in matches]} if matches else {}


def _format_number(number: Decimal | None) -> str | None:
    return None if number is None else str(number)


def _parse_number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
