"""Several rows as one value, so that what belongs to a row is read with it; and one value as
several.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Func, IntegerField, Subquery, TextField, Value


class Joined(Func):
    """One number of each row as text, between commas."""

    output_field = TextField()

    def as_sqlite(self, compiler: Any, connection: Any, **more: Any) -> Any:
        return self.as_sql(compiler, connection, template="GROUP_CONCAT(%(expressions)s, ',')")

    def as_postgresql(self, compiler: Any, connection: Any, **more: Any) -> Any:
        return self.as_sql(
            compiler, connection, template="STRING_AGG((%(expressions)s)::text, ',')"
        )


class Counted(Subquery):
    """How many rows a query has, beside another one's columns. A slice bounds what it costs."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()


class Unsought(Func):
    """A column that rows are compared by, but not looked for by: SQLite takes a unique index
    wherever there is one.
    """

    template = "%(expressions)s"
    arity = 1

    def __init__(self, column: str) -> None:
        super().__init__(column)

    def as_sqlite(self, compiler: Any, connection: Any, **more: Any) -> Any:
        return self.as_sql(compiler, connection, template="+%(expressions)s")


def split(words: str) -> Func:
    """The words of a text, for ``__in``: one value, however many. None may hold a quotation mark or
    a backslash.
    """
    return _Split(Value(words))


class _Split(Func):
    output_field = TextField()

    def as_sqlite(self, compiler: Any, connection: Any, **more: Any) -> Any:
        listed = "'[\"' || replace(%(expressions)s, ' ', '\",\"') || '\"]'"
        return self.as_sql(
            compiler, connection, template=f"(SELECT value FROM json_each({listed}))"
        )

    def as_postgresql(self, compiler: Any, connection: Any, **more: Any) -> Any:
        return self.as_sql(
            compiler, connection, template="(SELECT unnest(string_to_array(%(expressions)s, ' ')))"
        )
