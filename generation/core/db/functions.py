"""Database functions that pack several rows into one value, and one value into rows."""

from __future__ import annotations

from typing import Any

from django.db.models import Func, IntegerField, Subquery, TextField, Value


class Joined(Func):
    """The values of a numeric column, joined with commas."""

    output_field = TextField()

    def as_sqlite(self, compiler: Any, connection: Any, **more: Any) -> Any:
        return self.as_sql(compiler, connection, template="GROUP_CONCAT(%(expressions)s, ',')")

    def as_postgresql(self, compiler: Any, connection: Any, **more: Any) -> Any:
        return self.as_sql(
            compiler, connection, template="STRING_AGG((%(expressions)s)::text, ',')"
        )


class Counted(Subquery):
    """The number of rows of a subquery. A slice limits its cost."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()


class Unsought(Func):
    """A column that is compared but not used for an index lookup.

    SQLite otherwise prefers a unique index if there is one.
    """

    template = "%(expressions)s"
    arity = 1

    def __init__(self, column: str) -> None:
        super().__init__(column)

    def as_sqlite(self, compiler: Any, connection: Any, **more: Any) -> Any:
        return self.as_sql(compiler, connection, template="+%(expressions)s")


def split_words(words: str) -> Func:
    """Return the words of a text as rows, for ``__in`` with one parameter.

    Words must not contain quotation marks or backslashes.
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
