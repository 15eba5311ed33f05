"""How moments come and go, in a database where all of them are in UTC: as Django does it, in fewer steps.

A decision at the desk reads some twenty, and Django asks of each what it may be before it reads it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db.backends.sqlite3 import operations as django_operations
from django.utils.dateparse import parse_datetime

Operations: Any = django_operations.DatabaseOperations


class DatabaseOperations(Operations):  # type: ignore[misc]  # what it overrides is no part of Django's typed interface
    def convert_datetimefield_value(self, value: Any, expression: Any, connection: Any) -> Any:
        if type(value) is datetime and value.tzinfo is UTC:  # as ``moment`` has read it
            return value
        return super().convert_datetimefield_value(value, expression, connection)

    def adapt_datetimefield_value(self, value: Any) -> Any:
        if type(value) is datetime and value.tzinfo is UTC:
            return str(value.replace(tzinfo=None))
        return super().adapt_datetimefield_value(value)


def moment(text: bytes) -> datetime | None:
    """What the driver makes of a column of moments."""
    try:
        found: datetime | None = datetime.fromisoformat(text.decode())
    except ValueError:  # what some other program has written
        found = parse_datetime(text.decode())
    return found.replace(tzinfo=UTC) if found is not None and found.tzinfo is None else found
