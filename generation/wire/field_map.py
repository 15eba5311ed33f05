"""The mapping between the nested body of txt2img and one flat set of names, those of the columns.

``nest`` and ``flatten`` are inverse to each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from generation.wire import txt2img
from generation.wire.txt2img import Txt2ImgBody

FIELDS = {field.name: field for field in txt2img.FIELDS if field.column}
NAMES = tuple(FIELDS)
PATHS = {name: field.path for name, field in FIELDS.items()}
# Sent even when they are false or 0, so that a task documents what was asked of it.
_ALWAYS = {
    name
    for name, field in FIELDS.items()
    if field.is_required or (field.column and field.column.always_sent)
}


def nest(fields: Mapping[str, Any], *, webhook_url: str = "") -> dict[str, Any]:
    """Return the body with the fields that are set: no null, no empty list, no flag that is off.

    The URL of the webhook holds a secret, so it is no column.
    """
    body: dict[str, Any] = {"extra": {}, "request": {}}
    for name, path in PATHS.items():
        value = fields.get(name)
        if value is None or (name not in _ALWAYS and _is_unset(value)):
            continue
        place = body
        for part in path[:-1]:
            place = place.setdefault(part, {})
        place[path[-1]] = _plain(value)
    if webhook_url:
        body["extra"]["webhook"] = {"url": webhook_url}
    return body


def flatten(body: Txt2ImgBody) -> dict[str, Any]:
    """Return a value for each of NAMES, with the documented defaults for absent fields."""
    nested = body.model_dump(exclude_none=True)
    fields = {}
    for name, field in FIELDS.items():
        value: Any = nested
        for part in field.path:
            value = value.get(part) if value else None
        fields[name] = field.empty if value is None else value
    return fields


def _is_unset(value: Any) -> bool:
    return value is False or (isinstance(value, str | list | tuple | dict) and not value)


def _plain(value: Any) -> Any:
    """Convert to JSON types, and leave out the unset fields of inner objects."""
    if isinstance(value, Mapping):
        return {
            name: _plain(inner)
            for name, inner in value.items()
            if inner is not None and inner is not False
        }
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
