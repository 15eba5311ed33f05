"""Forms to propose a draft and to return a proposal."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms

TEXT_MAX = 4000


class ProposalForm(forms.Form):
    """The reason of a change of the policy, and when it goes into force."""

    reason = forms.CharField(
        label="Reason",
        max_length=TEXT_MAX,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Kept for good with the change, and shown in the history.",
        error_messages={"required": "Say why the policy should change."},
    )
    starts = forms.ChoiceField(
        label="In force",
        choices=[("now", "At once, when it is approved"), ("later", "At a time")],
        initial="now",
        widget=forms.RadioSelect,
        error_messages={"required": "Choose when it goes into force."},
    )
    starts_at = forms.DateTimeField(
        label="Time (UTC)",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        error_messages={"invalid": "Write the time like 2026-12-31 18:00."},
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("starts") != "later":
            cleaned["starts_at"] = None
        elif not cleaned.get("starts_at") and "starts_at" not in self.errors:
            self.add_error("starts_at", "Choose the time, or “at once”.")
        return cleaned

    @property
    def starting_time(self) -> datetime | None:
        found: datetime | None = self.cleaned_data["starts_at"]
        return found
