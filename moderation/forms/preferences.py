"""The form of a person's preferences. A POST changes only what it names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.forms.boundfield import BoundField

from moderation import taxonomy
from moderation.models import ImageCover, Preferences
from moderation.models.preferences import FREE_KEYS, HOTKEYS, USUAL_KEYS

AS_ABOVE = "usual"  # the general setting applies to the category
COVER_PREFIX = "cover-"
KEY_PREFIX = "key-"
RESET_KEYS = "usual"  # value of the field "keys": all keys become the usual ones again
SWITCHES = ("hotkeys", "blur", "small_first")


def _radio(choices: Any, **options: Any) -> forms.TypedChoiceField:
    return forms.TypedChoiceField(choices=choices, widget=forms.RadioSelect, **options)


class PreferencesForm(forms.ModelForm[Preferences]):
    """All preferences, stored values standing in for those that were not sent."""

    class Meta:
        model = Preferences
        fields = ("theme", "surround", *SWITCHES, "cover_again", "break_after")
        widgets = dict.fromkeys(
            ("theme", "surround", "cover_again", "break_after"), forms.RadioSelect
        )

    def __init__(self, stored: Preferences, data: Mapping[str, str] | None = None) -> None:
        initial = {name: "on" if getattr(stored, name) else "off" for name in SWITCHES}
        initial |= {f"{COVER_PREFIX}{l1}": cover for l1, cover in stored.covers.items()}
        initial |= _name_keys(stored.keys)
        super().__init__(
            instance=stored, initial=initial, auto_id=False, use_required_attribute=False
        )
        for name in SWITCHES:
            checkbox = self.fields[name]
            self.fields[name] = _radio(
                (("on", "On"), ("off", "Off")),
                label=checkbox.label,
                help_text=checkbox.help_text,
                coerce=lambda value: value == "on",
            )
        surround_key = stored.keys["surround"].upper()
        self.fields["surround"].help_text = f"Press {surround_key} at the desk to change it."
        for category in taxonomy.L1:
            self.fields[f"{COVER_PREFIX}{category.slug}"] = _radio(
                ((AS_ABOVE, "As above"), *ImageCover.choices), label=category.name, initial=AS_ABOVE
            )
        for action, (label, _) in HOTKEYS.items():
            self.fields[f"{KEY_PREFIX}{action}"] = forms.ChoiceField(
                choices=[(key, key.upper()) for key in FREE_KEYS], label=label
            )
        for field in self.fields.values():
            assert isinstance(field, forms.ChoiceField)
            choices: Any = field.choices
            names = [f"“{label}”" for _, label in choices]
            message = f"{field.label}: choose one of {', '.join(names[:-1])} and {names[-1]}."
            field.error_messages |= {"required": message, "invalid_choice": message}
        if data is not None:
            values = {
                name: self.get_initial_for_field(self.fields[name], name) for name in self.fields
            }
            reset = _name_keys(USUAL_KEYS) if data.get("keys") == RESET_KEYS else {}
            self.is_bound, self.data = True, {**values, **data, **reset}

    def clean(self) -> dict[str, Any]:
        """Require a key of its own for each action."""
        cleaned = super().clean() or self.cleaned_data
        owners: dict[str, str] = {}
        for action, (label, _) in HOTKEYS.items():
            name = f"{KEY_PREFIX}{action}"
            key = cleaned.get(name)
            if key in owners:
                self.add_error(name, f"{label}: {key.upper()} is already the key of {owners[key]}.")
            elif key:
                owners[key] = label
        return cleaned

    @property
    def cover_fields(self) -> list[BoundField]:
        return [self[name] for name in self.fields if name.startswith(COVER_PREFIX)]

    @property
    def key_fields(self) -> list[BoundField]:
        return [self[name] for name in self.fields if name.startswith(KEY_PREFIX)]

    def changed_fields(self) -> dict[str, Any]:
        """Return the cleaned values that differ from the stored ones, covers aside."""
        changed = {
            name: self.cleaned_data[name]
            for name in self.changed_data
            if not name.startswith((COVER_PREFIX, KEY_PREFIX))
        }
        if any(name.startswith(KEY_PREFIX) for name in self.changed_data):
            changed["own_keys"] = self._list_own_keys()
        return changed

    def _list_own_keys(self) -> dict[str, str]:
        keys = {action: self.cleaned_data[f"{KEY_PREFIX}{action}"] for action in HOTKEYS}
        return {action: key for action, key in keys.items() if key != USUAL_KEYS[action]}

    def changed_covers(self) -> dict[str, str]:
        """Return the changed covers by L1 category; "" for one that follows the general setting."""
        covers = {
            name.removeprefix(COVER_PREFIX): self.cleaned_data[name]
            for name in self.changed_data
            if name.startswith(COVER_PREFIX)
        }
        return {l1: "" if cover == AS_ABOVE else cover for l1, cover in covers.items()}


def _name_keys(keys: Mapping[str, str]) -> dict[str, str]:
    """Return keys by the names of their fields."""
    return {f"{KEY_PREFIX}{action}": key for action, key in keys.items()}
