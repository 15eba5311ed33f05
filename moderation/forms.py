"""What people send to the desk. Ranges and choices only; whether it may be done is the services' business."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, Self

from django import forms

from moderation import taxonomy
from moderation.models import Verdict

NOTE_MAX = 2000
VERDICTS = (Verdict.APPROVE, Verdict.REJECT, Verdict.ESCALATE)
CATEGORY_TREE: list[Any] = [
    (l1.name, [(category.slug, category.name) for category in (l1, *children)]) for l1, children in taxonomy.tree()
]


class DecisionForm(forms.Form):
    verdict = forms.ChoiceField(
        choices=[(verdict.value, verdict.label) for verdict in VERDICTS],
        error_messages={
            "required": "Choose approve, reject or escalate.",
            "invalid_choice": "Choose approve, reject or escalate.",
        },
    )
    categories = forms.MultipleChoiceField(
        required=False,
        choices=[(category.slug, category.name) for category in taxonomy.reject_reasons()],
        error_messages={"invalid_choice": "“%(value)s” is not a category that a rejection can name."},
    )
    note = forms.CharField(required=False, max_length=NOTE_MAX)
    seconds = forms.CharField(required=False)
    decision = forms.UUIDField(required=False)  # its name, made by the script so that sending twice decides once

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("verdict") == Verdict.ESCALATE and not cleaned.get("note", "").strip():
            self.add_error("note", "Say why a senior moderator should look at it.")
        return cleaned

    def clean_seconds(self) -> Decimal | None:
        """Time on screen as the script measured it. Only a hint, so a wrong one is dropped rather than refused."""
        try:
            seconds = Decimal(self.cleaned_data["seconds"])
        except InvalidOperation:
            return None
        return round(seconds, 1) if seconds.is_finite() and 0 <= seconds < 10**6 else None

    @property
    def sentence(self) -> str:
        """Everything that is wrong, as one text."""
        return " ".join(str(error) for errors in self.errors.values() for error in errors)


class _Shared(dict[str, forms.Field]):
    """Fields that nobody changes after the class was made. Copying them costs more than checking a form with them."""

    def __deepcopy__(self, memo: Any) -> Self:
        return self


DecisionForm.base_fields = _Shared(DecisionForm.base_fields)


class BulkPreviewForm(DecisionForm):
    """What is about to be decided about many images. The reason for an escalation is asked for with it, not before."""

    def clean(self) -> dict[str, Any]:
        return forms.Form.clean(self) or {}


class DecisionFilterForm(forms.Form):
    """Which part of the record. Page and CSV share it, and its fields are the page's address."""

    start = forms.DateField(label="From", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    end = forms.DateField(label="To", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    verdict = forms.ChoiceField(required=False, choices=[("", "Any"), *Verdict.choices])
    category = forms.ChoiceField(required=False, choices=[("", "Any"), *CATEGORY_TREE])
    reviewer = forms.CharField(
        required=False,
        max_length=150,
        widget=forms.TextInput(attrs={"autocomplete": "off", "placeholder": "User name"}),
    )
    by = forms.ChoiceField(
        label="Decided by", required=False, choices=[("", "Anybody"), ("person", "A person"), ("policy", "The policy")]
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        start, end = cleaned.get("start"), cleaned.get("end")
        if start and end and start > end:
            self.add_error("end", "This day is before the first one.")
        return cleaned
