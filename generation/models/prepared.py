"""Queries whose SQL is made once and run often.

Django writes the SQL of a queryset anew every time, which costs several times what the database takes for a lookup by
index. At the desk, where a decision is a dozen such lookups, that was most of a server's work. A Prepared query is an
ordinary queryset, written as ever; only its text is kept, with the connection it was made for and the values left open,
and how to read the rows. Model instances are made of them without ``__init__``, which sets every attribute one by one
and sends two signals that nobody here listens to.

    OLD = Prepared(lambda moment: Review.objects.filter(created_at__lt=moment)[:5], moment=datetime)
    OLD.rows(moment=timezone.now())
"""

from __future__ import annotations

import threading
from asyncio import _get_running_loop
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from operator import attrgetter, methodcaller
from types import NoneType
from typing import Any, Generic, TypeVar, cast
from uuid import UUID

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.backends.sqlite3.base import FORMAT_QMARK_REGEX
from django.db.models import CompositePrimaryKey, Model, QuerySet
from django.db.models.base import ModelState
from django.db.models.constants import OnConflict
from django.db.models.sql import InsertQuery, UpdateQuery

from generation.models.rows import reader

M = TypeVar("M", bound=Model)
T = TypeVar("T")
Kind = type[int] | type[str] | type[datetime] | type[UUID]


def _here() -> Any:
    """``connections[DEFAULT_DB_ALIAS]``, which is one and the same for as long as a thread lives; with an event loop in
    it, for as long as a task does."""
    if _get_running_loop() is not None:
        return connections[DEFAULT_DB_ALIAS]
    try:
        return _thread.connection
    except AttributeError:
        _thread.connection = connections[DEFAULT_DB_ALIAS]
        return _thread.connection


_thread = threading.local()


def new(model: type[M], **values: Any) -> M:
    """``model(**values)``, without ``__init__``, which looks for each field among the values and sends two signals."""
    row, defaults = model.__new__(model), _defaults(model)
    row.__dict__.update({name: default() for name, default in defaults.items() if name not in values})
    row._state = ModelState()
    for name, value in values.items():
        if name in defaults:
            row.__dict__[name] = value
        elif value is not None:  # an instance; without one its key is empty already
            setattr(row, name, value)
    return row


@cache
def _defaults(model: type[Model]) -> dict[str, Callable[[], Any]]:
    return {field.attname: field.get_default for field in model._meta.concrete_fields}


def insert(row: Model, *, again: bool = False) -> None:
    """``row.save(force_insert=True)`` for models without signals, defaults of the database, or files to store.

    ``again``, for models whose key is made of columns: nothing happens when it is there already.
    """
    connection, model = _here(), type(row)
    texts: dict[Any, _Insert] = connection.__dict__.setdefault("prepared_inserts", {})
    if (model, again) not in texts:
        texts[model, again] = _insert_into(model, row, connection, OnConflict.IGNORE if again else None)
    fields, sql, take = texts[model, again]
    given = row.__dict__
    values = [
        value
        if type(value := given[field.attname]) in as_it_is
        else field.get_db_prep_save(field.pre_save(row, True), connection)
        for field, as_it_is in fields
    ]
    key = sql.run(connection, values, take)
    if not isinstance(model._meta.pk, CompositePrimaryKey):
        row.pk = key
    row._state.adding, row._state.db = False, connection.alias


def _insert_into(model: type[Model], row: Model, connection: Any, on_conflict: OnConflict | None) -> _Insert:
    query = InsertQuery(model, on_conflict=on_conflict)
    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    query.insert_values(fields, [row])
    compiler: Any = query.get_compiler(connection=connection)
    compiler.returning_fields = None
    ((sql, _),) = compiler.as_sql()
    take = _key_on_sqlite
    # SQLite's driver knows the key of what it has inserted; for RETURNING it would make a table of its own each time.
    if connection.vendor != "sqlite":
        take = _counted if isinstance(model._meta.pk, CompositePrimaryKey) else _key_returned
    if take is _key_returned:
        sql += f" RETURNING {connection.ops.quote_name(str(model._meta.pk.column))}"
    return [(field, _as_they_are(field, connection)) for field in fields], _Sql.of(sql, connection), take


def _as_they_are(field: Any, connection: Any) -> frozenset[type]:
    """Of which kinds Django hands a field's values to the driver as they are, after a long look at them."""
    kind = _KINDS.get(type(field.target_field if field.is_relation else field))
    # Beside a plain int, PostgreSQL's driver has types for its sizes.
    has_sizes = kind is int and connection.vendor == "postgresql"
    return frozenset() if kind is None or has_sizes else frozenset({kind, NoneType})


_KINDS: dict[type, type] = {
    **dict.fromkeys((models.CharField, models.TextField), str),
    **dict.fromkeys((models.BooleanField,), bool),
    **dict.fromkeys((models.AutoField, models.BigAutoField, models.IntegerField, models.BigIntegerField), int),
}


def _stand_in(kind: Kind, number: int) -> Any:
    """A value that no query holds by itself, by which the place of the real one is found again."""
    if kind is datetime:
        return datetime(2999, 12, 31, microsecond=number, tzinfo=UTC)
    if kind is UUID:
        return UUID(int=0xDEC0DE << 100 | number)
    return f"\N{OBJECT REPLACEMENT CHARACTER}{number}" if kind is str else 1_987_654_000 + number


def _adapter(kind: Kind, connection: Any) -> Callable[[Any], Any]:
    """How Django hands a value of this kind to the driver."""
    if kind is datetime:
        return cast("Callable[[Any], Any]", connection.ops.adapt_datetimefield_value)
    if kind is UUID and not connection.features.has_native_uuid_field:
        return attrgetter("hex")
    return _as_it_is


def _as_it_is(value: Any) -> Any:
    return value


_fetched: Callable[[Any], list[Any]] = methodcaller("fetchall")
_key_on_sqlite: Callable[[Any], int] = attrgetter("lastrowid")
_counted: Callable[[Any], int] = attrgetter("rowcount")


def _key_returned(cursor: Any) -> Any:
    return cursor.fetchone()[0]


Execute = Callable[[Any, str, Sequence[Any]], Any]  # the driver's connection, a text and its values → a cursor


def _on_sqlite(raw: Any, text: str, params: Sequence[Any]) -> Any:
    return raw.execute(text, params)


def _on_postgresql(raw: Any, text: str, params: Sequence[Any]) -> Any:
    """The values beside the text and not in it, so that the server can keep what it has parsed and planned."""
    cursor = raw.__dict__.get("prepared_cursor")  # a new one would have to learn anew how to write each kind of value
    if cursor is None:
        cursor = raw.prepared_cursor = import_module("psycopg").Cursor(raw)
    return cursor.execute(text, params)


@dataclass(frozen=True, slots=True)
class _Sql:
    """A statement as Django writes it, and as the database's driver wants it."""

    text: str
    driver_text: str
    execute: Execute | None  # None where it has to go through Django's cursor

    @classmethod
    def of(cls, text: str, connection: Any) -> _Sql:
        if settings.DEBUG:  # where Django logs every query
            return cls(text, text, None)
        if connection.vendor == "sqlite":
            return cls(text, FORMAT_QMARK_REGEX.sub("?", text).replace("%%", "%"), _on_sqlite)
        return cls(text, text, _on_postgresql)

    def run(self, connection: Any, params: Sequence[Any], take: Callable[[Any], T]) -> T:
        """What ``take`` takes of the cursor."""
        if self.execute is None or connection.execute_wrappers or connection.force_debug_cursor:
            with connection.cursor() as cursor:
                cursor.execute(self.text, params)
                return take(cursor)
        # Straight to the driver, with all that Django's cursor sees to but rewriting the placeholders.
        if connection.needs_rollback:
            connection.validate_no_broken_transaction()
        if connection.connection is None:
            connection.ensure_connection()
        try:
            return take(self.execute(connection.connection, self.driver_text, params))
        except connection.Database.Error:
            with connection.wrap_database_errors:
                raise


# Fields with the kinds of values that go in as they are, the statement that takes a value for each, and what then has
# the new row's key.
_Insert = tuple[list[tuple[Any, frozenset[type]]], _Sql, Callable[[Any], Any]]


@dataclass(slots=True)
class _Text:
    """The SQL for one connection, where each value goes, and how a row is read."""

    connection: Any
    sql: _Sql
    params: Sequence[Any]
    places: Sequence[tuple[int, str, Callable[[Any], Any]]]  # position, name of the value, and how the driver wants it
    read: Callable[[Sequence[Any]], Any] = tuple

    def rows(self, values: Mapping[str, Any]) -> list[Any]:
        return [self.read(row) for row in self._run(values, _fetched)]

    def changed(self, values: Mapping[str, Any]) -> int:
        return self._run(values, _counted)

    def _run(self, values: Mapping[str, Any], take: Callable[[Any], T]) -> T:
        bound = list(self.params)
        for position, name, adapted in self.places:
            bound[position] = adapted(values[name])
        return self.sql.run(self.connection, bound, take)


class Prepared(Generic[M]):
    """``build`` makes the queryset from the named values, whose kinds are given beside it; or, for an UPDATE, the
    queryset and the columns' new values.

    A slice and the length of an ``in`` are part of the text: make one Prepared for each.
    """

    def __init__(self, build: Callable[..., QuerySet[M] | tuple[QuerySet[M], dict[str, Any]]], **kinds: Kind) -> None:
        self._build, self._kinds = build, kinds

    def rows(self, **values: Any) -> list[M]:
        return self._text().rows(values)

    def row(self, **values: Any) -> M | None:
        return next(iter(self.rows(**values)), None)

    def update(self, **values: Any) -> int:
        """Run the UPDATE; how many rows it changed."""
        return self._text().changed(values)

    def _text(self) -> _Text:
        """Kept on the connection: it belongs to one thread, and what was made for it dies with it."""
        connection = _here()
        texts: dict[Prepared[M], _Text] = connection.__dict__.setdefault("prepared_texts", {})
        text = texts.get(self)
        if text is None:
            text = texts[self] = self._written(connection)
        return text

    def _written(self, connection: Any) -> _Text:
        stand_ins = {name: _stand_in(kind, number) for number, (name, kind) in enumerate(self._kinds.items())}
        built: Any = self._build(**stand_ins)
        queryset, changes = built if isinstance(built, tuple) else (built, None)
        query = queryset.query
        if changes is not None:
            query = query.chain(UpdateQuery)
            query.add_update_values(changes)
        compiler = query.get_compiler(connection=connection)
        sql, params = compiler.as_sql()
        adapters = {name: _adapter(kind, connection) for name, kind in self._kinds.items()}
        places = [
            # Beside a plain int, PostgreSQL's driver has types for its sizes.
            (position, name, type(param) if issubclass(type(param), int) else adapters[name])
            for position, param in enumerate(params)
            for name, value in stand_ins.items()
            if param == adapters[name](value)
        ]
        assert {name for _, name, _ in places} == set(stand_ins), "a value got lost in the text"
        text = _Text(connection, _Sql.of(sql, connection), params, places)
        if changes is None:
            text.read = reader(queryset, compiler, connection)
        return text
