"""Filter form of the record."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django import forms

from moderation import taxonomy
from moderation.models import Verdict
from moderation.services.exports.filters import BLURRED

NOTE_MAX = 2000
DELIVERED: list[tuple[str, str]] = [(BLURRED, "Blurred"), ("unblurred", "Unblurred")]
CATEGORY_TREE: list[Any] = [
    (l1.name, [(category.slug, category.name) for category in (l1, *children)])
    for l1, children in taxonomy.iter_tree()
]


class DecisionFilterForm(forms.Form):
    """Filters of the record. Page and exports share it, and its fields are URL parameters."""

    OPTIONS: tuple[str, ...] = ()  # fields that are no filters

    start = forms.DateField(
        label="From", required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    end = forms.DateField(
        label="To", required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    verdict = forms.ChoiceField(required=False, choices=[("", "Any"), *Verdict.choices])
    delivered = forms.ChoiceField(required=False, choices=[("", "Any"), *DELIVERED])
    category = forms.ChoiceField(required=False, choices=[("", "Any"), *CATEGORY_TREE])
    reviewer = forms.CharField(
        required=False,
        max_length=150,
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "placeholder": "User name", "dir": "auto"}
        ),
    )
    by = forms.ChoiceField(
        label="Decided by",
        required=False,
        choices=[("", "Anybody"), ("person", "A person"), ("policy", "The policy")],
    )

    def __init__(self, *args: Any, besides: Collection[str] = (), **kwargs: Any) -> None:
        """Accept ``besides``: parameters in the data that are not filters."""
        super().__init__(*args, **kwargs)
        self._besides = besides

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if unknown := [
            name for name in self.data if name not in self.fields and name not in self._besides
        ]:
            filters = ", ".join(name for name in self.fields if name not in self.OPTIONS)
            options = f" Options: {', '.join(self.OPTIONS)}." if self.OPTIONS else ""
            self.add_error(
                None,
                f"There is no filter {', '.join(unknown)[:100]}. Filters: {filters}.{options}",
            )
        start, end = cleaned.get("start"), cleaned.get("end")
        if start and end and start > end:
            self.add_error("end", "This day is before the first one.")
        return cleaned
