"""Forms for one's own API keys, within the limits that the operator has set."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.utils import timezone

from generation.models import Scope

EXPIRIES = {"30": "after 30 days", "90": "after 90 days", "365": "after a year", "": "never"}
GRACES = {"0": "at once", "1": "in an hour", "24": "in a day", "168": "in a week"}


class ApiKeyForm(forms.Form):
    """Name, scopes, limits and end of a new key."""

    name = forms.CharField(
        max_length=120, error_messages={"required": "Name the program that gets the key."}
    )
    scopes = forms.MultipleChoiceField(
        error_messages={"required": "Choose what the key may do."},
    )
    calls_per_minute = forms.IntegerField(min_value=1)
    images_per_day = forms.IntegerField(min_value=1)
    expires = forms.ChoiceField(choices=list(EXPIRIES.items()), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        scopes: Any = self.fields["scopes"]
        scopes.choices = [
            (value, label) for value, label in Scope.choices if value in settings.API_KEY_SCOPES
        ]
        for name, most in (
            ("calls_per_minute", settings.API_KEY_CALLS_PER_MINUTE),
            ("images_per_day", settings.API_KEY_IMAGES_PER_DAY),
        ):
            self.fields[name] = forms.IntegerField(
                min_value=1,
                max_value=most,
                initial=most,
                help_text=f"At most {most:,}.",
                error_messages={
                    "required": f"Enter a number from 1 to {most:,}.",
                    "invalid": f"Enter a whole number from 1 to {most:,}.",
                    "max_value": f"A key may have at most {most:,}. Ask an operator for more.",
                    "min_value": f"Enter a number from 1 to {most:,}.",
                },
            )

    @property
    def first_wrong(self) -> str:
        """The first field with an error, which gets the focus."""
        return next(iter(self.errors), "")

    @property
    def key_fields(self) -> dict[str, Any]:
        """Return the fields of the new key."""
        data = self.cleaned_data
        days = data["expires"]
        return {
            "name": data["name"],
            "scopes": sorted(data["scopes"]),
            "calls_per_minute": data["calls_per_minute"],
            "images_per_day": data["images_per_day"],
            "expires_at": timezone.now() + timedelta(days=int(days)) if days else None,
        }


class RotationForm(forms.Form):
    """The time for which the old text of a key still works."""

    grace = forms.ChoiceField(choices=list(GRACES.items()))

    @property
    def duration(self) -> timedelta:
        return timedelta(hours=int(self.cleaned_data["grace"]))
