"""Queries that are compiled once and run often.

Django compiles a queryset to SQL on every run, which costs several times as much as an index lookup
in the database. A decision at the desk needs a dozen such lookups. A PreparedQuery is an ordinary
queryset whose SQL is cached on the database connection, with the positions of its parameters.

    OLD = PreparedQuery(
        lambda before: Review.objects.filter(created_at__lt=before)[:5], before=datetime
    )
    OLD.rows(before=timezone.now())

With the setting ``PREPARED_QUERIES=0`` the same querysets run through the plain ORM.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter, methodcaller
from typing import Any, Generic, TypeVar, cast
from uuid import UUID

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.sqlite3.base import FORMAT_QMARK_REGEX
from django.db.models import CompositePrimaryKey, Model, QuerySet
from django.db.models.constants import OnConflict
from django.db.models.sql import InsertQuery, UpdateQuery

from generation.core.db.prepared.readers import Reader, make_reader

M = TypeVar("M", bound=Model)
T = TypeVar("T")
Kind = type[int] | type[str] | type[datetime] | type[UUID]

_fetch_all: Callable[[Any], list[Any]] = methodcaller("fetchall")
_row_count: Callable[[Any], int] = attrgetter("rowcount")
_last_row_id: Callable[[Any], int] = attrgetter("lastrowid")


def _fetch_key(cursor: Any) -> Any:
    return cursor.fetchone()[0]


@dataclass(frozen=True, slots=True)
class _Statement:
    """A compiled SQL statement, for Django's cursor and, on SQLite, for the driver."""

    sql: str
    driver_sql: str | None

    @classmethod
    def of(cls, sql: str, connection: Any) -> _Statement:
        if connection.vendor != "sqlite":
            return cls(sql, None)
        return cls(sql, FORMAT_QMARK_REGEX.sub("?", sql).replace("%%", "%"))

    def run(self, connection: Any, params: Sequence[Any], fetch: Callable[[Any], T]) -> T:
        """Execute the statement and return the result of ``fetch`` on the cursor.

        On SQLite the driver is called directly, unless queries are logged or wrapped: Django's
        cursor rewrites the placeholders of every statement, which costs as much as the lookup.
        """
        if self.driver_sql is None or connection.queries_logged or connection.execute_wrappers:
            with connection.cursor() as cursor:
                cursor.execute(self.sql, params)
                return fetch(cursor)
        connection.validate_no_broken_transaction()
        connection.ensure_connection()
        with connection.wrap_database_errors:
            return fetch(connection.connection.execute(self.driver_sql, params))


# --- Queries ---


class PreparedQuery(Generic[M]):
    """A queryset, or an UPDATE of one, that is compiled once per database connection.

    ``build`` returns the queryset for named parameters, whose types are given as keyword arguments.
    For an UPDATE it returns the queryset and the new values. The length of a slice or of an
    ``__in`` list is part of the SQL, so each length needs its own query.
    """

    def __init__(
        self, build: Callable[..., QuerySet[M] | tuple[QuerySet[M], dict[str, Any]]], **kinds: Kind
    ) -> None:
        self._build, self._kinds = build, kinds

    def rows(self, **values: Any) -> list[M]:
        """Return all rows."""
        if not settings.PREPARED_QUERIES:
            return list(cast("QuerySet[M]", self._build(**values)))
        return self._compiled().rows(values)

    def row(self, **values: Any) -> M | None:
        """Return the first row, or None."""
        return next(iter(self.rows(**values)), None)

    def update(self, **values: Any) -> int:
        """Run the UPDATE and return the number of rows that matched."""
        if not settings.PREPARED_QUERIES:
            queryset, changes = cast("tuple[QuerySet[M], dict[str, Any]]", self._build(**values))
            return queryset.update(**changes)
        return self._compiled().update(values)

    def _compiled(self) -> _Compiled:
        """Return the SQL for this thread's connection; it is cached on the connection."""
        connection = connections[DEFAULT_DB_ALIAS]
        compiled: dict[PreparedQuery[M], _Compiled] = connection.__dict__.setdefault(
            "prepared_queries", {}
        )
        if self not in compiled:
            compiled[self] = self._compile(connection)
        return compiled[self]

    def _compile(self, connection: Any) -> _Compiled:
        markers = {
            name: _marker(kind, number) for number, (name, kind) in enumerate(self._kinds.items())
        }
        built: Any = self._build(**markers)
        queryset, changes = built if isinstance(built, tuple) else (built, None)
        query = queryset.query
        if changes is not None:
            query = query.chain(UpdateQuery)
            query.add_update_values(changes)
        compiler = query.get_compiler(connection=connection)
        sql, params = compiler.as_sql()
        adapters = {name: _adapter(kind, connection) for name, kind in self._kinds.items()}
        places = [
            # PostgreSQL's driver has its own integer types for the sizes of columns.
            (position, name, type(param) if issubclass(type(param), int) else adapters[name])
            for position, param in enumerate(params)
            for name, marker in markers.items()
            if param == adapters[name](marker)
        ]
        if lost := set(markers) - {name for _, name, _ in places}:
            raise TypeError(
                f"The query does not use its parameter {sorted(lost)[0]!r} as it is given."
            )
        read = make_reader(queryset, compiler, connection) if changes is None else list
        return _Compiled(connection, _Statement.of(sql, connection), params, places, read)


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A query's SQL for one connection, the positions of its parameters, and its row reader."""

    connection: Any
    statement: _Statement
    params: Sequence[Any]
    # Position, parameter, and the conversion for the driver.
    places: Sequence[tuple[int, str, Callable[[Any], Any]]]
    read: Reader

    def rows(self, values: Mapping[str, Any]) -> list[Any]:
        return self.read(self.statement.run(self.connection, self._bind(values), _fetch_all))

    def update(self, values: Mapping[str, Any]) -> int:
        return self.statement.run(self.connection, self._bind(values), _row_count)

    def _bind(self, values: Mapping[str, Any]) -> list[Any]:
        params = list(self.params)
        for position, name, adapt in self.places:
            params[position] = adapt(values[name])
        return params


def _marker(kind: Kind, number: int) -> Any:
    """Return an improbable value, which marks a parameter's position in the SQL."""
    if kind is datetime:
        return datetime(2999, 12, 31, microsecond=number, tzinfo=UTC)
    if kind is UUID:
        return UUID(int=0xDEC0DE << 100 | number)
    return f"\N{OBJECT REPLACEMENT CHARACTER}{number}" if kind is str else 1_987_654_000 + number


def _adapter(kind: Kind, connection: Any) -> Callable[[Any], Any]:
    """Return the conversion that Django applies to a value of this type for the driver."""
    if kind is datetime:
        return cast("Callable[[Any], Any]", connection.ops.adapt_datetimefield_value)
    if kind is UUID and not connection.features.has_native_uuid_field:
        return attrgetter("hex")
    return _unchanged


def _unchanged(value: Any) -> Any:
    return value


# --- Inserts ---


def insert(row: Model, *, ignore_conflicts: bool = False) -> None:
    """Insert a row like ``row.save(force_insert=True)``, with SQL compiled once per connection.

    For models without signals, database defaults or files. With ``ignore_conflicts``, for models
    with a composite primary key, an existing row is left unchanged. Raises IntegrityError.
    """
    if not settings.PREPARED_QUERIES:
        if ignore_conflicts:
            type(row)._default_manager.bulk_create([row], ignore_conflicts=True)
        else:
            row.save(force_insert=True)
        return
    connection, model = connections[DEFAULT_DB_ALIAS], type(row)
    compiled: dict[Any, _Insert] = connection.__dict__.setdefault("prepared_inserts", {})
    if (model, ignore_conflicts) not in compiled:
        compiled[model, ignore_conflicts] = _compile_insert(row, connection, ignore_conflicts)
    fields, statement, fetch = compiled[model, ignore_conflicts]
    values = [field.get_db_prep_save(field.pre_save(row, True), connection) for field in fields]
    key = statement.run(connection, values, fetch)
    if not isinstance(model._meta.pk, CompositePrimaryKey):
        row.pk = key
    row._state.adding, row._state.db = False, connection.alias


# Fields, SQL, and the function that reads the new key.
_Insert = tuple[list[Any], _Statement, Callable[[Any], Any]]


def _compile_insert(row: Model, connection: Any, ignore_conflicts: bool) -> _Insert:
    model = type(row)
    query = InsertQuery(model, on_conflict=OnConflict.IGNORE if ignore_conflicts else None)
    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    query.insert_values(fields, [row])
    compiler: Any = query.get_compiler(connection=connection)
    compiler.returning_fields = None
    ((sql, _),) = compiler.as_sql()
    if isinstance(model._meta.pk, CompositePrimaryKey):
        fetch: Callable[[Any], Any] = _row_count
    elif connection.vendor == "sqlite":
        # RETURNING makes SQLite build a temporary table for every statement; the driver knows the
        # key.
        fetch = _last_row_id
    else:
        fetch = _fetch_key
        sql += f" RETURNING {connection.ops.quote_name(str(model._meta.pk.column))}"
    return fields, _Statement.of(sql, connection), fetch
