"""What classifiers said about an image, in the form in which its review keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from moderation.models.classifications import Classification

Packed = list[dict[str, Any]]  # of what JSON can hold, confidences and scores as text


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One label: a category, and where in the image if the classifier says so."""

    category: str
    confidence: Decimal | None  # 0 to 100; None: the classifier gave none
    box: Sequence[float] | None  # left, top, width, height as fractions of the image


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One classification, as far as people are told of it."""

    classifier: str
    status: str
    flagged: bool | None
    score: Decimal | None  # 0 to 100
    error: str
    covers: Mapping[str, str]  # L1 slug to coverage
    details: Mapping[str, Sequence[str]]  # category to the classifier's own words beyond it
    parts: Sequence[Part]


def pack(runs: Iterable[Classification]) -> Packed:
    """``runs``: in the order in which people see them, with their labels."""
    return [
        {
            "classifier": run.classifier,
            "status": run.status,
            "flagged": run.flagged,
            "score": _text(run.score),
            "error": run.error,
            "covers": run.covers,
            "details": _details(run),
            "parts": [
                [label.category, _text(label.confidence), label.box]
                for label in sorted(run.labels.all(), key=lambda label: label.pk)
            ],
        }
        for run in runs
    ]


def unpack(packed: Packed) -> list[Run]:
    return [
        Run(
            classifier=run["classifier"],
            status=run["status"],
            flagged=run["flagged"],
            score=_number(run["score"]),
            error=run["error"],
            covers=run["covers"],
            details=run["details"],
            parts=[
                Part(category=category, confidence=_number(confidence), box=box)
                for category, confidence, box in run["parts"]
            ],
        )
        for run in packed
    ]


def _details(run: Classification) -> dict[str, Any]:
    found = run.raw.get("details") if isinstance(run.raw, dict) else None
    return found if isinstance(found, dict) else {}


def _text(number: Decimal | None) -> str | None:
    return None if number is None else str(number)


def _number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
