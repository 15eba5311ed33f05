"""Annotations of a wire model's fields, and functions that read the declaration of a field.

The limits, the default and the description for API callers are pydantic's own: ``Field(ge=1, le=8,
default=2, description="…")``. The annotations add the rest: ``Column`` describes the database
column, ``Input`` the input of the form, and ``ApiRefusal`` excludes a field from the API.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema

T = TypeVar("T")
SectionSlug = Literal["what", "how", "loras", "embeddings", "model", "hires", "finish", "delivery"]


@dataclass(frozen=True, slots=True)
class Column:
    """The database column of a field, and its key in ``generation.wire.field_map``."""

    verbose_name: str | None = None  # None: derived from the name
    name: str = ""  # "": the name of the field
    length: int = 255  # characters, for names and choices
    default: int | None = None  # of the column alone
    help_text: str = ""
    always_sent: bool = False  # even if false or 0, so that the body documents the request


@dataclass(frozen=True, slots=True)
class Input:
    """The input of a field on the request form, and the line about it on the page of a request.

    Inputs stand in the order of the wire model. In a list, ``{row}`` in label and name is the
    number of the row.
    """

    label: str
    section: SectionSlug
    name: str = ""  # "": the name of the column
    after: str = ""  # the name of the input before it, where the order of the wire does not fit
    note: str = ""  # a line above the input
    unit: str = ""
    show_range: bool = True  # whether the help text begins with the range
    help: str = ""
    initial: Any = None
    missing: str = ""  # the message when a required name is empty
    text_rows: int = 0  # of a text area
    datalist: str = ""  # the id of a list of suggestions
    catalog_kind: str = ""  # the type of models in the provider's list that can be chosen
    empty_choice: str = ""  # the label of leaving the choice to the provider
    choice_labels: Mapping[int, str] | None = None  # makes radio buttons
    has_fact: bool = True  # whether the page of a request has a line about it
    fact: str = ""  # the label of that line; "": the label of the input
    fact_value: str = ""  # the value in that line when a flag is set


@dataclass(frozen=True, slots=True)
class ApiRefusal:
    """A field that API callers may not send. ``reason`` is the error code of the answer."""

    reason: str
    why: str

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        found = handler(schema)
        found["description"] = (
            f"Refused with 400 {self.reason} unless it is null or {{}}: {self.why}."
        )
        return found


@dataclass(frozen=True, slots=True)
class WireField:
    """A field at its place in the body."""

    path: tuple[str, ...]
    info: FieldInfo
    is_required: bool  # and so is every object around it

    @property
    def column(self) -> Column | None:
        return _find_annotation(self.info, Column)

    @property
    def input(self) -> Input | None:
        return _find_annotation(self.info, Input)

    @property
    def api_refusal(self) -> ApiRefusal | None:
        return _find_annotation(self.info, ApiRefusal)

    @property
    def name(self) -> str:
        """The name of the column."""
        return (self.column and self.column.name) or self.path[-1]

    @property
    def kind(self) -> Any:
        """The type without None: bool, int, float, str, Literal, list[model] or a model."""
        annotation = self.info.annotation
        if get_origin(annotation) in (Union, types.UnionType):
            (annotation,) = (part for part in get_args(annotation) if part is not type(None))
        return annotation

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values of a Literal; () for other types."""
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    @property
    def item_model(self) -> type[BaseModel] | None:
        """The model of a list's entries."""
        return get_args(self.kind)[0] if get_origin(self.kind) is list else None

    @property
    def model(self) -> type[BaseModel] | None:
        """The model of an object, or of a list's entries."""
        found = self.item_model or self.kind
        return found if isinstance(found, type) and issubclass(found, BaseModel) else None

    @property
    def limits(self) -> tuple[float, float] | None:
        """The lowest and highest value, or the length of a text or list. None: not both known."""
        if self.choices and isinstance(self.choices[0], int):
            return min(self.choices), max(self.choices)
        low = self._find_limit("ge", "min_length")
        high = self._find_limit("le", "max_length")
        if low is None and self.item_model:
            low = 0
        return None if low is None or high is None else (low, high)

    @property
    def unit(self) -> str:
        """The unit of ``limits`` where they are a length."""
        if self.item_model:
            return "items"
        return "characters" if self.kind is str else ""

    @property
    def is_long_text(self) -> bool:
        """True for a text with a limit of its own, such as a prompt; False for a name."""
        return self.kind is str and self.limits is not None

    @property
    def is_not_empty(self) -> bool:
        """True if an empty text is invalid."""
        return bool(self._find_limit("min_length"))

    @property
    def empty(self) -> Any:
        """The stored value when the body has none."""
        if self.kind is str:
            return ""
        if self.info.is_required():
            return None
        return self.info.get_default(call_default_factory=True)

    def _find_limit(self, *names: str) -> float | None:
        found = (getattr(part, name, None) for part in self.info.metadata for name in names)
        return next((value for value in found if value is not None), None)


def walk_fields(
    model: type[BaseModel], path: tuple[str, ...] = (), *, required: bool = True
) -> Iterator[WireField]:
    """Yield every field of a model, each followed by the fields of the objects in it."""
    for name, info in model.model_fields.items():
        field = WireField((*path, name), info, required and info.is_required())
        yield field
        if field.model:
            yield from walk_fields(field.model, field.path, required=field.is_required)


def _find_annotation(info: FieldInfo, kind: type[T]) -> T | None:
    return next((part for part in info.metadata if isinstance(part, kind)), None)
