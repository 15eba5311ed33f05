"""Queries whose SQL is made once and run often.

Django writes the SQL of a queryset anew every time, which costs several times what the database takes for a lookup by
index. At the desk, where a decision is a dozen such lookups, that was most of a server's work. A Prepared query is an
ordinary queryset, written as ever; only its text is kept, for each thread's connection, with the values left open.

    OLD = Prepared(lambda moment: Review.objects.filter(created_at__lt=moment)[:5], moment=datetime)
    OLD.rows(moment=timezone.now())
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar, cast
from uuid import UUID

from django.db import connections, router
from django.db.models import Model, QuerySet
from django.db.models.sql import UpdateQuery

M = TypeVar("M", bound=Model)
Kind = type[int] | type[str] | type[datetime] | type[UUID]


def _stand_in(kind: Kind, number: int) -> Any:
    """A value that no query holds by itself, by which the place of the real one is found again."""
    if kind is datetime:
        return datetime(2999, 12, 31, microsecond=number, tzinfo=UTC)
    if kind is UUID:
        return UUID(int=0xDEC0DE << 100 | number)
    return f"\N{OBJECT REPLACEMENT CHARACTER}{number}" if kind is str else 1_987_654_000 + number


def _adapted(value: Any, connection: Any) -> Any:
    """The value as Django hands it to the driver."""
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(value)
    if isinstance(value, UUID):
        return value if connection.features.has_native_uuid_field else value.hex
    return value


@dataclass(slots=True)
class _Text:
    """The SQL for one connection, and where each value goes."""

    connection: Any
    queryset: Any
    compiler: Any
    sql: str
    params: Sequence[Any]
    places: Sequence[tuple[int, str, type]]  # position, name of the value, and the driver's type for it

    def bound(self, values: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
        params = list(self.params)
        for position, name, wrapper in self.places:
            value = _adapted(values[name], self.connection)
            params[position] = wrapper(value) if issubclass(wrapper, int) else value
        return self.sql, tuple(params)


class Prepared(Generic[M]):
    """``build`` makes the queryset from the named values, whose kinds are given beside it; or, for an UPDATE, the
    queryset and the columns' new values.

    A slice and the length of an ``in`` are part of the text: make one Prepared for each.
    """

    def __init__(self, build: Callable[..., QuerySet[M] | tuple[QuerySet[M], dict[str, Any]]], **kinds: Kind) -> None:
        self._build, self._kinds = build, kinds
        self._texts = threading.local()

    def rows(self, **values: Any) -> list[M]:
        text = self._text()
        text.compiler.as_sql = lambda *args, **kwargs: text.bound(values)
        return list(text.queryset._iterable_class(text.queryset))

    def row(self, **values: Any) -> M | None:
        return next(iter(self.rows(**values)), None)

    def update(self, **values: Any) -> int:
        """Run the UPDATE; how many rows it changed."""
        text = self._text()
        with text.connection.cursor() as cursor:
            cursor.execute(*text.bound(values))
            return cast("int", cursor.rowcount)

    def _text(self) -> _Text:
        text: _Text | None = getattr(self._texts, "text", None)
        if text is None:
            text = self._texts.text = self._written()
        return text

    def _written(self) -> _Text:
        stand_ins = {name: _stand_in(kind, number) for number, (name, kind) in enumerate(self._kinds.items())}
        built: Any = self._build(**stand_ins)
        queryset, changes = built if isinstance(built, tuple) else (built, None)
        query, alias = queryset.query, queryset.db
        if changes is not None:
            query, alias = query.chain(UpdateQuery), router.db_for_write(queryset.model)
            query.add_update_values(changes)
        connection = connections[alias]
        compiler = query.get_compiler(using=alias)
        sql, params = compiler.as_sql()
        places = [
            (position, name, type(param))
            for position, param in enumerate(params)
            for name, value in stand_ins.items()
            if param == _adapted(value, connection)
        ]
        assert {name for _, name, _ in places} == set(stand_ins), "a value got lost in the text"
        query.get_compiler = lambda *args, **kwargs: compiler
        if changes is None:
            converters = compiler.get_converters([column for column, _, _ in compiler.select[: compiler.col_count]])
            compiler.get_converters = lambda expressions: converters
        return _Text(connection, queryset, compiler, sql, params, places)
