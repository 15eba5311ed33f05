"""Notes in the record of rows that are only ever added: a hash of each range of them.

Triggers refuse changes of these rows at once; a note shows a change that got around them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.contrib.admin.models import LogEntry
from django.db import connection, models, transaction
from django.utils import timezone

from moderation.models import (
    AccessTrace,
    HeadChange,
    LegalHold,
    LegalHoldLift,
    PolicyActivation,
    RecordEvent,
    RetentionEvent,
    TeamEvent,
)
from moderation.services import audit_log

ROWS_AT_ONCE: Final = 50_000
# On PostgreSQL a row may become visible after one with a higher key. No transaction that adds such
# rows takes this long.
SETTLE: Final = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedTable:
    """A table whose rows are noted."""

    model: type[models.Model]
    time: str  # the field with the time of the row

    @property
    def name(self) -> str:
        return self.model._meta.db_table

    @property
    def label(self) -> str:
        return str(self.model._meta.verbose_name_plural)


TABLES: Final = tuple(
    NotedTable(model=model, time=time)
    for model, time in (
        (PolicyActivation, "created_at"),
        (TeamEvent, "created_at"),
        (HeadChange, "created_at"),
        (AccessTrace, "created_at"),
        (LegalHold, "created_at"),
        (LegalHoldLift, "created_at"),
        (RetentionEvent, "created_at"),
        (LogEntry, "action_time"),
    )
)


def note_rows(*, settle: bool = True) -> int:
    """Note the rows that were added since the last notes; return their number."""
    count = 0
    for table in TABLES:
        while added := _note_next(table, settle=settle and connection.vendor != "sqlite"):
            count += added
    return count


def _note_next(table: NotedTable, *, settle: bool) -> int:
    with transaction.atomic():
        if not audit_log.lock_head().is_sealed:
            return 0
        events = RecordEvent.objects.filter(kind=RecordEvent.Kind.ROWS, subject=table.name)
        last = events.order_by("-sequence").first()
        after = last.payload["to"] if last else 0
        rows = table.model._default_manager.filter(pk__gt=after)
        if settle:
            rows = rows.exclude(**{f"{table.time}__gt": timezone.now() - SETTLE})
        keys = list(rows.order_by("pk").values_list("pk", flat=True)[:ROWS_AT_ONCE])
        if not keys:
            return 0
        fields = [field.attname for field in table.model._meta.concrete_fields]
        payload = {"after": after, "to": keys[-1], "fields": fields}
        payload |= _summarize(table, payload)
        audit_log.record_event(RecordEvent.Kind.ROWS, payload, subject=table.name)
        return len(keys)


def _summarize(table: NotedTable, payload: dict[str, Any]) -> dict[str, Any]:
    """Return the number of the rows in a range, and the SHA-256 of their fields."""
    rows = table.model._default_manager.filter(pk__gt=payload["after"], pk__lte=payload["to"])
    digest, count = hashlib.sha256(), 0
    for values in rows.order_by("pk").values_list(*payload["fields"]).iterator(chunk_size=2000):
        text = json.dumps(values, sort_keys=True, ensure_ascii=False, default=str)
        digest.update(text.encode("utf-8", "surrogatepass") + b"\n")
        count += 1
    return {"count": count, "sha256": digest.hexdigest()}


def find_faults(unreadable: tuple[type[Exception], ...]) -> list[str]:
    """Return a message for each range of rows that is not as it was noted."""
    tables = {table.name: table for table in TABLES}
    noted = RecordEvent.objects.filter(kind=RecordEvent.Kind.ROWS).order_by("sequence")
    return list(_compare(noted.values_list("subject", "payload"), tables, unreadable))


def _compare(
    notes: Iterable[tuple[str, Any]],
    tables: dict[str, NotedTable],
    unreadable: tuple[type[Exception], ...],
) -> Iterator[str]:
    for name, payload in notes:
        table = tables.get(name)
        if table is None:
            continue
        try:
            is_same = _summarize(table, payload).items() <= payload.items()
        except unreadable:
            is_same = False
        if not is_same:
            yield (
                f"The {table.label} {payload.get('after', 0) + 1} to {payload.get('to')} were"
                " changed, deleted or added to after they were noted."
            )
