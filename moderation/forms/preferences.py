"""How somebody wants the desk, as a form. Only what was sent is looked at and changed, so one
button is a form too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms

from moderation import taxonomy
from moderation.models import ImageCover, Preferences

Choices = Sequence[tuple[str, str]]
SWITCH: Choices = (("on", "On"), ("off", "Off"))
AS_USUAL = "usual"
VEILS: Choices = (
    (AS_USUAL, "As above"),
    *((str(value), str(label)) for value, label in ImageCover.choices),
)
VEIL_PREFIX = "veil-"


@dataclass(frozen=True, slots=True)
class Wish:
    """One thing that somebody can choose."""

    name: str
    label: str
    choices: Choices
    help: str = ""

    @property
    def is_switch(self) -> bool:
        return self.choices is SWITCH

    @property
    def is_number(self) -> bool:
        return self.name in ("veil_again", "break_after")

    @property
    def sentence(self) -> str:
        names = [name for _, name in self.choices]
        return (
            f"{self.label}: choose one of {', '.join(f'“{name}”' for name in names[:-1])} and"
            f" “{names[-1]}”."
        )


def _choices(enum: Any) -> Choices:
    return [(str(value), str(label)) for value, label in enum.choices]


LOOK = (
    Wish("theme", "Theme", _choices(Preferences.Theme)),
    Wish(
        "surround",
        "Surround of the image",
        _choices(Preferences.Surround),
        "A key (G) changes it at the desk.",
    ),
    Wish(
        "hotkeys",
        "Single-letter keys",
        SWITCH,
        "Off, if they come in the way of speech control or other tools.",
    ),
)
PICTURES = (
    Wish(
        "blur",
        "Blurred until revealed",
        SWITCH,
        "Until you reveal it, the image itself is not even sent to you.",
    ),
    Wish("small_first", "Small at first", SWITCH, "A small picture, until you enlarge it."),
    Wish(
        "veil_again",
        "Veiled again after",
        (("0", "Never"), ("3", "3 s"), ("5", "5 s"), ("10", "10 s")),
        "A revealed image is blurred again after so long.",
    ),
)
REST = (
    Wish(
        "break_after",
        "Suggest a break after",
        (("0", "Never"), ("50", "50"), ("100", "100"), ("200", "200"), ("400", "400")),
        "Images in one hour. It is a suggestion: nothing stops you, and nobody else learns of it.",
    ),
)
PER_CATEGORY = tuple(Wish(f"{VEIL_PREFIX}{l1.slug}", l1.name, VEILS) for l1 in taxonomy.L1)
WISHES = {wish.name: wish for wish in (*LOOK, *PICTURES, *REST, *PER_CATEGORY)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    value: str
    label: str
    is_chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A wish as the page shows it."""

    wish: Wish
    options: Sequence[Option]
    error: str


class PreferencesForm(forms.Form):
    def __init__(self, data: Mapping[str, str]) -> None:
        super().__init__(data)
        for name, wish in WISHES.items():
            if name in data:
                self.fields[name] = forms.ChoiceField(
                    choices=wish.choices,
                    error_messages={"required": wish.sentence, "invalid_choice": wish.sentence},
                )

    @property
    def sentences(self) -> list[str]:
        return [str(error) for errors in self.errors.values() for error in errors]

    def changes(self) -> tuple[dict[str, Any], dict[str, str]]:
        """What to store of what was sent: fields, and veils by category ("" is: as usual)."""
        fields: dict[str, Any] = {}
        covers: dict[str, str] = {}
        for name, value in self.cleaned_data.items():
            wish = WISHES[name]
            if name.startswith(VEIL_PREFIX):
                covers[name.removeprefix(VEIL_PREFIX)] = "" if value == AS_USUAL else value
            else:
                fields[name] = (
                    value == "on" if wish.is_switch else int(value) if wish.is_number else value
                )
        return fields, covers


def rows(
    wishes: Sequence[Wish], stored: Preferences, sent: PreferencesForm | None = None
) -> Iterator[Row]:
    """As stored, or as just sent and refused."""
    for wish in wishes:
        value = _stored(wish, stored)
        error = ""
        if sent is not None and wish.name in sent.fields:
            value = sent.data[wish.name]
            error = " ".join(str(one) for one in sent.errors.get(wish.name, ()))
        options = [
            Option(value=one, label=label, is_chosen=one == value) for one, label in wish.choices
        ]
        yield Row(wish=wish, options=options, error=error)


def _stored(wish: Wish, stored: Preferences) -> str:
    if wish.name.startswith(VEIL_PREFIX):
        return str(stored.covers.get(wish.name.removeprefix(VEIL_PREFIX), AS_USUAL))
    value = getattr(stored, wish.name)
    if wish.is_switch:
        return "on" if value else "off"
    return str(value)
