"""The form that starts a trial of a policy."""

from __future__ import annotations

from typing import Any

from django import forms

from moderation.models import Policy
from moderation.services.trials import DAYS


class TrialForm(forms.Form):
    """The window of a trial, and the version to compare with."""

    days = forms.TypedChoiceField(
        label="Images of the last",
        choices=[(days, f"{days} days") for days in DAYS],
        coerce=int,
        initial=DAYS[1],
        error_messages={"required": "Choose how many days of images to try it on."},
    )
    against = forms.IntegerField(
        label="Compare with version",
        min_value=1,
        max_value=10**9,
        required=False,
        help_text="Empty: the version in force.",
    )

    def clean_against(self) -> Policy | None:
        version = self.cleaned_data["against"]
        if version is None:
            return Policy.objects.active()
        found: Policy | None = Policy.objects.filter(version=version).first()
        if found is None:
            raise forms.ValidationError(f"There is no version {version} of the policy.")
        return found

    @property
    def message(self) -> str:
        """Return the first error as a sentence."""
        errors: dict[str, Any] = self.errors
        return next((str(texts[0]) for texts in errors.values()), "")
