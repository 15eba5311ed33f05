"""How values come and go, for a database whose moments are all in UTC: as Django does it, in fewer steps.

A decision at the desk reads some thirty moments, and Django asks of each what it may be before it reads it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db.backends.sqlite3 import operations as django_operations

Operations: Any = django_operations.DatabaseOperations


class DatabaseOperations(Operations):  # type: ignore[misc]  # what it overrides is no part of Django's typed interface
    def convert_datetimefield_value(self, value: Any, expression: Any, connection: Any) -> datetime | None:
        if value is None:
            return None
        try:
            found = datetime.fromisoformat(value)
        except (TypeError, ValueError):  # what some other program has written
            found = super().convert_datetimefield_value(value, expression, connection)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found

    def adapt_datetimefield_value(self, value: Any) -> Any:
        if type(value) is datetime and value.tzinfo is UTC:
            return str(value.replace(tzinfo=None))
        return super().adapt_datetimefield_value(value)
