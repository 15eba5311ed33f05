"""What Novita's formats have in common: how absent values look on the wire."""

from __future__ import annotations

from typing import Any, TypeGuard

from pydantic import BaseModel, ConfigDict, model_validator


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


class WireModel(BaseModel):
    """One JSON object. ``null`` and ``{}`` count as absent, because Novita's own SDK sends both for unset fields."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _drop_absent(cls, data: Any) -> Any:
        if not is_object(data):
            return data
        return {name: value for name, value in data.items() if value is not None and value != {}}
