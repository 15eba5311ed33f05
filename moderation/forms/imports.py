"""Form of an import in the browser."""

from __future__ import annotations

from django import forms
from django.utils import timezone

NAME_MAX = 80


class ImportForm(forms.Form):
    name = forms.CharField(
        label="Name of the set",
        required=False,
        max_length=NAME_MAX,
        error_messages={"max_length": f"A name has at most {NAME_MAX} characters."},
        widget=forms.TextInput(attrs={"autocomplete": "off", "dir": "auto"}),
    )

    def get_name(self) -> str:
        """Return the given name, or one that states the time."""
        name = " ".join(str(self.cleaned_data["name"]).split())
        return name or f"Import of {timezone.now():%-d %B, %H:%M} UTC"

    def get_message(self) -> str:
        return " ".join(str(error) for errors in self.errors.values() for error in errors)
