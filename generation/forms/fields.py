"""The request form's kinds of fields. What each demands comes from ``generation.wire.txt2img``,
word for word.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms

from generation.services import validation
from generation.wire import txt2img as wire

_QUIET = {"autocomplete": "off", "spellcheck": "false", "dir": "auto"}


class PromptField(forms.CharField):
    """Text whose line breaks count as one character, as in the browser's own counter."""

    def __init__(self, *, name: str, label: str, required: bool = True, rows: int) -> None:
        low, high = wire.RANGES[name]
        wrong = f"{label} {wire.demand(name)}."
        super().__init__(
            label=label,
            required=required,
            strip=False,
            min_length=int(low),
            max_length=int(high),
            widget=forms.Textarea({"rows": rows, "spellcheck": "false", "dir": "auto"}),
            help_text=f"{low} to {high} characters."
            if required
            else f"Optional. Up to {high} characters.",
            error_messages={
                **dict.fromkeys(("required", "min_length", "max_length"), wrong),
                "null_characters_not_allowed": f"{label} {validation.NUL}.",
            },
        )

    def to_python(self, value: Any) -> Any:
        return super().to_python(value.replace("\r\n", "\n") if isinstance(value, str) else value)


def number(name: str, label: str, unit: str = "", **options: Any) -> forms.IntegerField:
    """A whole number in the wire's range; every message names the field and the range."""
    low, high = wire.RANGES[name]
    wrong = f"{label} {wire.demand(name)}."
    messages = dict.fromkeys(("required", "invalid", "min_value", "max_value"), wrong)
    options.setdefault("help_text", f"{low} to {high}{unit}.")
    return forms.IntegerField(
        label=label, min_value=int(low), max_value=int(high), error_messages=messages, **options
    )


class FractionField(forms.DecimalField):
    """A number that JSON can carry exactly as it was written."""

    def clean(self, value: Any) -> float | None:
        number = super().clean(value)
        if number is None:
            return None
        sent = float(number)
        if Decimal(repr(sent)) != number:
            sentence = (
                f"{self.label} has more digits than can be sent. The nearest number is {sent!r}."
            )
            raise forms.ValidationError(sentence, code="too_many_digits")
        return sent


def fraction(name: str, label: str, *, about: str = "", **options: Any) -> FractionField:
    low, high = wire.RANGES[name]
    wrong = f"{label} {wire.demand(name)}."
    messages = dict.fromkeys(
        ("required", "invalid", "min_value", "max_value", "max_whole_digits"), wrong
    )
    options.setdefault("help_text", f"{low} to {high}. {about}".strip())
    return FractionField(
        label=label,
        min_value=low,
        max_value=high,
        widget=forms.NumberInput({"step": "any"}),
        error_messages=messages,
        **options,
    )


def choice(
    label: str, values: tuple[str, ...], initial: str = "", *, none: str = "", **options: Any
) -> forms.ChoiceField:
    """One of the documented values; ``none`` is the word for leaving it to the provider."""
    wrong = f"{label} must be one of: {', '.join(values)}."
    messages = {"required": wrong, "invalid_choice": wrong}
    choices = [*([("", none)] if none else []), *((value, value) for value in values)]
    return forms.ChoiceField(
        label=label,
        choices=choices,
        initial=initial,
        required=not none,
        error_messages=messages,
        **options,
    )


def name(label: str, *, missing: str = "", **options: Any) -> forms.CharField:
    """A name as the provider spells it; ``missing`` is the sentence when it has to be there."""
    return forms.CharField(
        label=label,
        required=bool(missing),
        max_length=validation.NAME_MAX,
        widget=forms.TextInput({**_QUIET, **options.pop("attrs", {})}),
        error_messages={
            "required": missing,
            "max_length": f"{label} must have at most {validation.NAME_MAX} characters.",
            "null_characters_not_allowed": f"{label} {validation.NUL}.",
        },
        **options,
    )
