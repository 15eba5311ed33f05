"""Parameters of the exports, which are URL parameters and options of the commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from django import forms

from moderation.forms.decisions import DecisionFilterForm
from moderation.models import Review
from moderation.services.exports.filters import UNDECIDED, filter_decisions, filter_images
from moderation.services.exports.tables import Table, build_decision_table, build_image_table

YES, NO = "1", "0"


class DecisionExportForm(DecisionFilterForm):
    """Parameters of an export of decisions."""

    OPTIONS = ("evidence",)

    evidence = forms.ChoiceField(
        required=False,
        choices=[(YES, "Yes"), (NO, "No")],
        error_messages={"invalid_choice": "Write 1 for yes or 0 for no."},
    )


class ImageExportForm(DecisionExportForm):
    """Parameters of an export of images.

    The days are those of the arrival. The other filters of the record apply to the decision in
    effect.
    """

    status = forms.ChoiceField(
        required=False,
        choices=[("", "Any"), (UNDECIDED, "Undecided"), *Review.Status.choices],
    )


class ExportKind(NamedTuple):
    """An export: the form of its parameters, and its table."""

    form: type[DecisionExportForm]
    build_table: Callable[[dict[str, Any]], Table]


EXPORTS = {
    "decisions": ExportKind(
        DecisionExportForm,
        lambda given: build_decision_table(
            filter_decisions(given), evidence=given["evidence"] == YES
        ),
    ),
    "images": ExportKind(
        ImageExportForm,
        lambda given: build_image_table(filter_images(given), evidence=given["evidence"] == YES),
    ),
}
