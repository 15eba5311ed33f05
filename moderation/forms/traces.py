"""Filters of the page of traces."""

from __future__ import annotations

from django import forms

from moderation.models import AccessTrace


class TraceFilterForm(forms.Form):
    """Filters by person, kind and day (UTC)."""

    person = forms.CharField(required=False, max_length=150)
    kind = forms.ChoiceField(
        required=False, choices=[("", "All"), *AccessTrace.Kind.choices], label="Kind"
    )
    day = forms.DateField(
        required=False, label="Day (UTC)", widget=forms.DateInput(attrs={"type": "date"})
    )
