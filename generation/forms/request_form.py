"""The request form: the common fields first, the rest in sections.

Its inputs are declared in ``generation.wire.txt2img``. ``generation.services.validation`` checks
the whole request once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any
from uuid import uuid4

from django import forms
from django.forms import BoundField

from generation import providers
from generation.forms import rows
from generation.forms.fields import make_field
from generation.forms.presets import Preset
from generation.models import GenerationRequest
from generation.services import validation
from generation.services.model_catalog import CatalogUnavailableError
from generation.wire import txt2img as wire

SIZES = (256, 384, 512, 576, 640, 704, 768, 832, 896, 960, 1024, 1152, 1216, 1280, 1344, 1536, 2048)
FIELDS = validation.FIELDS


@dataclass(frozen=True)
class Block:
    """Inputs that stand together: plain ones side by side, or one of another kind."""

    kind: str  # plain, prompt, model, check or radios
    note: str
    fields: list[BoundField]


@dataclass(frozen=True)
class Section:
    """A part of the form, folded until an input in it is set or wrong."""

    slug: str
    title: str
    about: str
    note: str
    in_rows: bool
    fields: list[BoundField]

    @property
    def open(self) -> bool:
        return any(field.errors or _is_set(field) for field in self.fields)

    @property
    def blocks(self) -> list[Block]:
        """The inputs, with plain neighbours joined unless they stand in rows of their own."""
        found: list[Block] = []
        for field in self.fields:
            kind, note = _get_kind_and_note(field.name)
            joins = kind == "plain" and not note and not self.in_rows
            if joins and found and found[-1].kind == "plain":
                found[-1].fields.append(field)
            else:
                found.append(Block(kind, note, [field]))
        return found


class RequestForm(forms.Form):
    """The inputs of ``rows.INPUTS``, and the provider."""

    form_token = forms.UUIDField(widget=forms.HiddenInput({"autocomplete": "off"}), initial=uuid4)
    provider = forms.ChoiceField(label="Provider")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields.update((name, make_field(item)) for name, item in rows.INPUTS.items())
        available = providers.list_labels()
        field = self.fields["provider"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = list(available.items())
        field.initial = next(iter(available), "")
        wrong = "Provider must be one that is configured. Choose it again."
        field.error_messages |= {"required": wrong, "invalid_choice": wrong}

    @classmethod
    def like(cls, request: GenerationRequest) -> RequestForm:
        """Return a new form with every field of an earlier request."""
        initial = rows.to_form_values({name: getattr(request, name) for name in FIELDS})
        if not request.enable_nsfw_detection:
            initial.pop("nsfw_detection_level")  # stored as 0, which is no choice
        if request.provider in providers.list_labels():
            initial["provider"] = request.provider
        return cls(initial=initial)

    @classmethod
    def from_preset(cls, preset: Preset) -> RequestForm:
        return cls(initial=rows.to_form_values(preset.fields))

    @property
    def chosen_provider(self) -> str:
        """The provider whose models are suggested."""
        chosen = str(self["provider"].value() or "")
        return chosen if chosen in providers.list_labels() else ""

    @property
    def request_fields(self) -> dict[str, Any]:
        """The fields of a valid form, as ``create_request`` takes them."""
        return self._accepted

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if not cleaned.get("enable_nsfw_detection") or cleaned.get("nsfw_detection_level") == "":
            cleaned["nsfw_detection_level"] = wire.NSFW_LEVEL_DEFAULT
        for field, demand in rows.find_missing(cleaned):
            if field not in self.errors:
                self._add_demand(field, demand)
        if not self.errors:
            self._validate_body(cleaned)
        return cleaned

    def _validate_body(self, cleaned: dict[str, Any]) -> None:
        """Check the request once more as a whole, in case an input accepts a wrong value."""
        try:
            self._accepted = validation.validate_fields(
                rows.to_request_fields(cleaned), provider=cleaned["provider"]
            )
        except validation.InvalidFieldsError as error:
            for problem in error.problems:
                self._add_demand(rows.find_input(problem.path, cleaned), problem.demand)
        except CatalogUnavailableError as error:
            self.add_error(
                "enable_transparent_background",
                (
                    "Transparent background needs an SDXL model, and the provider's list of "
                    f"SDXL models cannot be read now. {error} Try again in a moment."
                ),
            )

    def _add_demand(self, field: str, demand: str) -> None:
        if field in self.fields:
            self.add_error(field, f"{self.fields[field].label} {demand}.")
        else:
            self.add_error(None, f"The request {demand}.")

    # --- For the page ---

    @property
    def what(self) -> Section:
        return self._make_section(rows.WHAT, [])

    @property
    def how(self) -> Section:
        return self._make_section(rows.HOW, [self["provider"]])

    @property
    def sections(self) -> list[Section]:
        """The folded sections."""
        return [self._make_section(section, []) for section in rows.SECTIONS[2:]]

    def _make_section(self, section: rows.Section, more: list[BoundField]) -> Section:
        inputs = rows.INPUTS.items()
        names = [name for name, item in inputs if item.input.section == section.slug]
        return Section(**asdict(section), fields=[self[name] for name in names] + more)


def _get_kind_and_note(name: str) -> tuple[str, str]:
    item = rows.INPUTS.get(name)
    if item is None:  # the provider
        return "plain", ""
    if item.input.text_rows:
        return "prompt", item.input.note
    if item.input.catalog_kind:
        return "model", item.input.note
    if item.input.choice_labels:
        return "radios", item.input.note
    return "check" if item.field.kind is bool else "plain", item.input.note


def _is_set(field: BoundField) -> bool:
    """Return whether the value differs from that of an untouched form."""
    value, untouched = field.value(), field.field.initial
    if isinstance(field.field, forms.BooleanField):
        return bool(value) != bool(untouched)
    return _normalize_number(value) not in ("", _normalize_number(untouched))


def _normalize_number(value: object) -> str:
    """Return a comparable text: 0.5 equals 0.500."""
    text = "" if value is None else str(value).strip()
    try:
        return str(Decimal(text).normalize())
    except ArithmeticError:
        return text


def picked(query: Mapping[str, str]) -> dict[str, str]:
    """Return the names that were chosen in the list of models."""
    return {name: query[name][: validation.NAME_MAX] for name in rows.PICKED if query.get(name)}
