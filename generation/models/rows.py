"""What becomes of the rows of a query whose text is kept (``generation.models.prepared``).

Instances without ``__init__``, lists of values, or single ones: as the queryset would have made them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models.base import ModelState
from django.db.models.query import FlatValuesListIterable, ModelIterable, ValuesListIterable

Row = Sequence[Any]


def reader(queryset: Any, compiler: Any, connection: Any) -> Callable[[Row], Any]:
    """What makes a model's instance, a list of values or one value of a row."""
    converters = compiler.get_converters([column for column, _, _ in compiler.select[: compiler.col_count]])
    steps = [(at, step, expression) for at, (several, expression) in converters.items() for step in several]
    kind = queryset._iterable_class
    if kind is ModelIterable:
        make = _Maker(compiler.klass_info, compiler.select, connection, steps)
        annotations = compiler.annotation_col_map
        return _annotated(make, annotations, _Steps(connection, steps)) if annotations else make
    assert kind in (ValuesListIterable, FlatValuesListIterable), "model instances and lists of values only"
    return _listed(_Steps(connection, steps), is_flat=kind is FlatValuesListIterable)


def _annotated(make: _Maker, annotations: Mapping[str, int], steps: _Steps) -> Callable[[Row], Any]:
    own = _Steps(steps.connection, [step for step in steps.steps if step[0] in annotations.values()])

    def read(row: Row) -> Any:
        made, values = make(row), list(row)
        own.take(values)
        made.__dict__.update({name: values[at] for name, at in annotations.items()})
        return made

    return read


def _listed(steps: _Steps, *, is_flat: bool) -> Callable[[Row], Any]:
    def read(row: Row) -> Any:
        values = list(row)
        steps.take(values)
        return values[0] if is_flat else tuple(values)

    return read


@dataclass(frozen=True, slots=True)
class _Steps:
    """How Django makes a field's value of a column's. An empty column stays empty."""

    connection: Any
    steps: Sequence[tuple[Any, Callable[[Any, Any, Any], Any], Any]]  # where it is, what to do, and the expression read

    def take(self, values: Any) -> None:
        for at, step, expression in self.steps:
            if values[at] is not None:
                values[at] = step(values[at], expression, self.connection)


class _Maker:
    """Makes one model's instances of a row's columns, and those that are joined to it."""

    def __init__(self, info: Mapping[str, Any], select: Sequence[Any], connection: Any, steps: Sequence[Any]) -> None:
        columns = info["select_fields"]
        assert not info.get("from_parent"), "no model here inherits another one's table"
        self.model, self.alias, self.start, self.end = info["model"], connection.alias, columns[0], columns[-1] + 1
        self.names = [select[at][0].target.attname for at in range(self.start, self.end)]
        mine = [(self.names[at - self.start], *rest) for at, *rest in steps if self.start <= at < self.end]
        self.steps = _Steps(connection, mine)
        self.key = self.start + self.names.index(self.model._meta.pk_fields[0].attname)
        self.joined = [
            (_Maker(other, select, connection, steps), other["local_setter"], other["remote_setter"])
            for other in info.get("related_klass_infos", ())
        ]

    def __call__(self, row: Row) -> Any:
        made = self.model.__new__(self.model)
        state = ModelState()
        state.adding, state.db = False, self.alias
        # A column that was left out is read when it is asked for, as with any queryset.
        values = dict(zip(self.names, row[self.start : self.end], strict=True))
        self.steps.take(values)
        made.__dict__.update(values, _state=state)
        for maker, tell, tell_back in self.joined:
            other = None if row[maker.key] is None else maker(row)
            tell(made, other)
            if other is not None:
                tell_back(other, made)
        return made
