"""The exports that the page of the record offers, with its filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.forms.boundfield import BoundField
from django.urls import reverse

from moderation.forms.decisions import DecisionFilterForm
from moderation.forms.exports import ImageExportForm
from moderation.services.exports import parquet
from moderation.services.exports.formats import FORMATS

DECISIONS = (
    "Decisions",
    "The decisions that match the filters above, one row for each.",
)
IMAGES = (
    "Images",
    "One row for each image, decided or not, with its decision in effect. The days above are then"
    " those of the arrival; the other filters apply to the decision in effect.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOffer:
    """A form that downloads an export: one button for each format."""

    kind: str
    title: str
    about: str
    filters: Sequence[tuple[str, str]]
    formats: Sequence[tuple[str, str]]  # name and URL
    status: BoundField | None = None


def build_exports(given: Mapping[str, str]) -> list[ExportOffer]:
    """Return the exports, with the filters that are set in the URL of the record."""
    filters = [(name, given[name]) for name in DecisionFilterForm.base_fields if given.get(name)]
    return [
        _build_offer("decisions", DECISIONS, filters),
        _build_offer("images", IMAGES, filters, status=ImageExportForm()["status"]),
    ]


def _build_offer(
    kind: str,
    words: tuple[str, str],
    filters: Sequence[tuple[str, str]],
    *,
    status: BoundField | None = None,
) -> ExportOffer:
    return ExportOffer(
        kind=kind,
        title=words[0],
        about=words[1],
        filters=filters,
        formats=[
            (found.name, reverse(f"moderation:{kind}-{suffix}"))
            for suffix, found in FORMATS.items()
            if suffix != "parquet" or parquet.is_available()
        ],
        status=status,
    )
