"""The flat inputs of the form and the nested fields of a request.

An input corresponds to one value in the body. Five rows of inputs make up one list of LoRAs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from generation.wire import field_map
from generation.wire import txt2img as wire
from generation.wire.fields import Input, WireField, walk_fields


@dataclass(frozen=True, slots=True)
class FormInput:
    """An input of the form, with the place of its value in the body."""

    name: str
    label: str
    field: WireField
    input: Input
    stored: str  # the name of the column that holds the value
    inner: tuple[str, ...] = ()  # the place in the column's object
    row: int | None = None  # the place in the column's list, from 0

    @property
    def path(self) -> tuple[int | str, ...]:
        place = field_map.PATHS[self.stored]
        return (*place, *self.inner) if self.row is None else (*place, self.row, *self.inner)

    @property
    def is_required(self) -> bool:
        """True if every request has a value. Objects and rows may be left out."""
        return self.field.is_required and not self.inner

    @property
    def is_demanded(self) -> bool:
        """True if the value is required in the object around it."""
        return self.field.info.is_required()

    def read(self, values: Mapping[str, Any]) -> Any:
        """Return the value among a request's fields; None where there is none."""
        value = values.get(self.stored)
        if self.row is not None:
            value = value[self.row] if value and len(value) > self.row else None
        for part in self.inner:
            value = value.get(part) if value else None
        return value


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the form."""

    slug: str
    title: str
    about: str = ""
    note: str = ""  # a line above the inputs
    in_rows: bool = False


_LORA_STRENGTH = wire.RANGES["request", "loras", "strength"]
WHAT = Section("what", "Picture")
HOW = Section("how", "Settings")
SECTIONS = (
    WHAT,
    HOW,
    Section(
        "loras",
        "LoRAs",
        f"up to {wire.RANGES['request', 'loras'][1]}",
        note=(
            f"Each with a strength from {_LORA_STRENGTH[0]} to {_LORA_STRENGTH[1]}."
            " A row without a name is left out."
        ),
        in_rows=True,
    ),
    Section("embeddings", "Embeddings", f"up to {wire.RANGES['request', 'embeddings'][1]}"),
    Section("model", "VAE, clip skip and refiner", "model options"),
    Section(
        "hires",
        "Hires fix",
        "a larger picture from a small one",
        note="Set both sides to turn it on.",
    ),
    Section("finish", "Background and faces", "post-processing"),
    Section("delivery", "Delivery", "image type, NSFW detection, storage, plan"),
)


def _list_inputs_of(stored: str, field: WireField) -> Iterator[FormInput]:
    """Yield the inputs of one column: its own, or one for each part of its object or list."""
    if field.input:
        yield FormInput(field.input.name or stored, field.input.label, field, field.input, stored)
    if not field.model:
        return
    parts = [part for part in walk_fields(field.model) if part.input]
    rows = range(int(wire.RANGES[field.path][1])) if field.item_model else [None]
    for row in rows:
        for part in parts:
            shape = part.input
            assert shape is not None
            number = "" if row is None else row + 1
            name, label = shape.name.format(row=number), shape.label.format(row=number)
            yield FormInput(name, label, part, shape, stored, part.path, row)


def _sort_inputs() -> dict[str, FormInput]:
    """Return the inputs in the order of the form, by name."""
    found = [item for stored in field_map.FIELDS.items() for item in _list_inputs_of(*stored)]
    for item in [item for item in found if item.input.after]:
        found.remove(item)
        place = next(n for n, other in enumerate(found) if other.name == item.input.after)
        found.insert(place + 1, item)
    slugs = [section.slug for section in SECTIONS]
    found.sort(key=lambda item: slugs.index(item.input.section))
    return {item.name: item for item in found}


INPUTS = _sort_inputs()
# The inputs that the list of models can fill in, with the type of models each takes.
PICKED = {name: item.input.catalog_kind for name, item in INPUTS.items() if item.input.catalog_kind}


def to_request_fields(cleaned: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request's fields from the form's."""
    values: dict[str, Any] = {}
    for stored, field in field_map.FIELDS.items():
        if field.item_model:
            values[stored] = [
                _build_object(group, cleaned) for group in _list_filled_rows(stored, cleaned)
            ]
        elif field.model:
            group = _list_inputs(stored)
            if _is_filled(group, cleaned):
                values[stored] = _build_object(group, cleaned)
        elif stored in cleaned:
            values[stored] = cleaned[stored]
    return values


def to_form_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the form's fields from the request's. Inverse of ``to_request_fields``."""
    initial = {}
    for name, item in INPUTS.items():
        if item.inner:
            group = values.get(item.stored)
            is_there = len(group) > item.row if group and item.row is not None else bool(group)
        else:
            is_there = item.stored in values
        if is_there:
            initial[name] = item.read(values)
    return initial


def find_missing(cleaned: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the empty inputs that others of their group make necessary, with the demand on each."""
    for stored, field in field_map.FIELDS.items():
        if not field.model:
            continue
        groups = _list_filled_rows(stored, cleaned) if field.item_model else [_list_inputs(stored)]
        for group in groups:
            if _is_filled(group, cleaned):
                yield from _find_missing(group, cleaned)


def find_input(path: tuple[int | str, ...], cleaned: Mapping[str, Any]) -> str:
    """Return the name of the input for a place in the body; "" if there is none.

    Rows that are not filled in are not in the body, so that its rows count the filled ones.
    """
    for stored, place in field_map.PATHS.items():
        row = path[len(place)] if path[: len(place)] == place and len(path) > len(place) else None
        if isinstance(row, int):
            group = list(_list_filled_rows(stored, cleaned))[row]
            inner = path[len(place) + 1 :]
            return next((item.name for item in group if item.inner == inner), "")
    return next((item.name for item in INPUTS.values() if item.path == path), "")


def _list_inputs(stored: str, row: int | None = None) -> list[FormInput]:
    return [item for item in INPUTS.values() if item.stored == stored and item.row == row]


def _list_filled_rows(stored: str, cleaned: Mapping[str, Any]) -> Iterator[list[FormInput]]:
    rows = {item.row for item in INPUTS.values() if item.stored == stored}
    for row in sorted(row for row in rows if row is not None):
        group = _list_inputs(stored, row)
        if _is_filled(group, cleaned):
            yield group


def _is_filled(group: list[FormInput], cleaned: Mapping[str, Any]) -> bool:
    """Return whether a group is in use. An input with an initial value does not count."""
    return any(cleaned.get(item.name) for item in group if item.input.initial is None)


def _build_object(group: list[FormInput], cleaned: Mapping[str, Any]) -> dict[str, Any]:
    """Build the object of a group, without optional parts that are empty."""
    found: dict[str, Any] = {}
    for item in group:
        value = cleaned[item.name]
        if value in (None, "") and not item.is_demanded:
            continue
        place = found
        for part in item.inner[:-1]:
            place = place.setdefault(part, {})
        place[item.inner[-1]] = value
    return found


def _find_missing(group: list[FormInput], cleaned: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for item in group:
        if not item.is_demanded or cleaned.get(item.name) not in (None, ""):
            continue
        if item.field.limits:
            yield item.name, wire.describe_demand(item.field)
        elif item.field.is_not_empty:
            yield item.name, "must not be empty"
