"""Conversion of database rows of a compiled queryset, with Django's own classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.db.models import query as django_query
from django.db.models.query import FlatValuesListIterable, ModelIterable, ValuesListIterable

Row = Sequence[Any]
Reader = Callable[[Iterable[Row]], list[Any]]


def make_reader(queryset: Any, compiler: Any, connection: Any) -> Reader:
    """Return a function that converts database rows to the results of the queryset.

    Supports model instances (with ``select_related``, ``defer``, ``only`` and annotations),
    ``values_list()`` and flat value lists. Raises TypeError for any other queryset.
    """
    expressions = [expression for expression, _, _ in compiler.select[: compiler.col_count]]
    converters = compiler.get_converters(expressions)

    def convert(rows: Iterable[Row]) -> Iterable[Row]:
        return compiler.apply_converters(rows, converters) if converters else rows

    kind = queryset._iterable_class
    if kind is FlatValuesListIterable:
        return lambda rows: [row[0] for row in convert(rows)]
    if kind is ValuesListIterable:
        return lambda rows: [tuple(row) for row in convert(rows)]
    if kind is not ModelIterable:
        raise TypeError(
            f"A prepared query reads model instances and values_list(), not {kind.__name__}."
        )
    return _instance_reader(compiler, connection.alias, convert)


def _instance_reader(
    compiler: Any, alias: str, convert: Callable[[Iterable[Row]], Iterable[Row]]
) -> Reader:
    """Build model instances as ``django.db.models.query.ModelIterable`` does."""
    klass_info, select = compiler.klass_info, compiler.select
    model, columns = klass_info["model"], klass_info["select_fields"]
    start, end = columns[0], columns[-1] + 1
    names = [select[position][0].target.attname for position in range(start, end)]
    # The type stubs belong to a later Django, whose function takes one more argument.
    get_populators: Any = django_query.get_related_populators
    populators = get_populators(klass_info, select, alias)
    annotations = compiler.annotation_col_map.items()

    def read(rows: Iterable[Row]) -> list[Any]:
        instances = []
        for row in convert(rows):
            instance = model.from_db(alias, names, row[start:end])
            for populator in populators:
                populator.populate(row, instance)
            for name, position in annotations:
                setattr(instance, name, row[position])
            instances.append(instance)
        return instances

    return read
