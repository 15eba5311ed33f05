"""The inputs of the request form, made of their declarations in ``generation.wire.txt2img``."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms

from generation.forms.rows import FormInput
from generation.services import validation
from generation.wire import txt2img as wire

_QUIET = {"autocomplete": "off", "spellcheck": "false", "dir": "auto"}
EXACT_MAX = 2**53  # browsers round larger numbers in a number input


class PromptField(forms.CharField):
    """A text whose line breaks count as one character, as in the browser's own counter."""

    def to_python(self, value: Any) -> Any:
        return super().to_python(value.replace("\r\n", "\n") if isinstance(value, str) else value)


class FractionField(forms.DecimalField):
    """A number that JSON can carry exactly as it was written."""

    def clean(self, value: Any) -> float | None:
        number = super().clean(value)
        if number is None:
            return None
        sent = float(number)
        if Decimal(repr(sent)) != number:
            message = (
                f"{self.label} has more digits than can be sent. The nearest number is {sent!r}."
            )
            raise forms.ValidationError(message, code="too_many_digits")
        return sent


def make_field(item: FormInput) -> forms.Field:
    """Return the form field of an input. Its messages name the input and the demand on it."""
    kind = item.field.kind
    if kind is bool:
        return forms.BooleanField(
            label=item.label,
            required=False,
            initial=item.input.initial,
            help_text=item.input.help,
        )
    if item.input.choice_labels:
        return _make_radios(item)
    if item.field.choices:
        return _make_select(item)
    if kind is int:
        return _make_integer(item)
    if kind is float:
        return _make_fraction(item)
    return _make_prompt(item) if item.input.text_rows else _make_name(item)


def _make_prompt(item: FormInput) -> forms.Field:
    low, high = _get_limits(item)
    required = item.is_required
    return PromptField(
        label=item.label,
        required=required,
        strip=False,
        min_length=low,
        max_length=high,
        widget=forms.Textarea({"rows": item.input.text_rows, "spellcheck": "false", "dir": "auto"}),
        help_text=f"{low} to {high} characters."
        if required
        else f"Optional. Up to {high} characters.",
        error_messages={
            **_make_messages(item, "required", "min_length", "max_length"),
            "null_characters_not_allowed": f"{item.label} {validation.NUL}.",
        },
    )


def _make_integer(item: FormInput) -> forms.Field:
    low, high = _get_limits(item)
    widget: forms.Widget
    if high > EXACT_MAX:
        widget = forms.TextInput({"inputmode": "numeric", "autocomplete": "off"})
    else:
        widget = forms.NumberInput({"list": item.input.datalist} if item.input.datalist else {})
    return forms.IntegerField(
        label=item.label,
        required=item.is_required,
        initial=item.input.initial,
        min_value=low,
        max_value=high,
        widget=widget,
        help_text=_describe_range(item),
        error_messages=_make_messages(item, "required", "invalid", "min_value", "max_value"),
    )


def _make_fraction(item: FormInput) -> forms.Field:
    low, high = _get_limits(item)
    return FractionField(
        label=item.label,
        required=item.is_required,
        initial=item.input.initial,
        min_value=low,
        max_value=high,
        widget=forms.NumberInput({"step": "any"}),
        help_text=_describe_range(item),
        error_messages=_make_messages(
            item, "required", "invalid", "min_value", "max_value", "max_whole_digits"
        ),
    )


def _make_select(item: FormInput) -> forms.Field:
    values, empty = item.field.choices, item.input.empty_choice
    wrong = f"{item.label} must be one of: {', '.join(values)}."
    return forms.ChoiceField(
        label=item.label,
        choices=[*([("", empty)] if empty else []), *((value, value) for value in values)],
        initial=item.input.initial or "",
        required=not empty,
        help_text=item.input.help,
        error_messages={"required": wrong, "invalid_choice": wrong},
    )


def _make_radios(item: FormInput) -> forms.Field:
    assert item.input.choice_labels is not None
    return forms.TypedChoiceField(
        label=item.label,
        coerce=int,
        choices=list(item.input.choice_labels.items()),
        initial=item.input.initial,
        widget=forms.RadioSelect,
        required=False,
        error_messages=_make_messages(item, "invalid_choice"),
    )


def _make_name(item: FormInput) -> forms.Field:
    """Return a field for a name as the provider spells it."""
    suggestions = {"list": item.input.datalist} if item.input.datalist else {}
    return forms.CharField(
        label=item.label,
        required=item.is_required,
        initial=item.input.initial,
        max_length=validation.NAME_MAX,
        widget=forms.TextInput({**_QUIET, **suggestions}),
        help_text=item.input.help,
        error_messages={
            "required": item.input.missing,
            "max_length": f"{item.label} must have at most {validation.NAME_MAX} characters.",
            "null_characters_not_allowed": f"{item.label} {validation.NUL}.",
        },
    )


def _get_limits(item: FormInput) -> tuple[int, int]:
    low, high = item.field.limits or (0, 0)
    return int(low), int(high)


def _make_messages(item: FormInput, *codes: str) -> dict[str, str]:
    return dict.fromkeys(codes, f"{item.label} {wire.describe_demand(item.field)}.")


def _describe_range(item: FormInput) -> str:
    if not item.input.show_range:
        return item.input.help
    low, high = _get_limits(item)
    unit = f" {item.input.unit}" if item.input.unit else ""
    return f"{low} to {high}{unit}. {item.input.help}".strip()
