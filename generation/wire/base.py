"""The base of Novita's formats: a model that reads absent values, and numbers with a fraction."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, TypeGuard

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def round_floats(rounding: Callable[[float], int]) -> BeforeValidator:
    """Read 12.0 or 12.4 where every documented example has an integer."""

    def rounded(value: Any) -> Any:
        return rounding(value) if isinstance(value, float) and math.isfinite(value) else value

    return BeforeValidator(rounded)


WholeNumber = Annotated[int, round_floats(math.floor)]
WholeNumberUp = Annotated[int, round_floats(math.ceil)]


class WireModel(BaseModel):
    """A JSON object. ``null`` and ``{}`` count as absent.

    Novita's own SDK sends both for unset fields.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _drop_absent(cls, data: Any) -> Any:
        if not is_object(data):
            return data
        return {name: value for name, value in data.items() if value is not None and value != {}}
