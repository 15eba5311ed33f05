"""Changes of the record that its triggers refuse, as somebody with the database could make them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from django.apps import apps
from django.db import connection

from moderation import append_only
from moderation.models import (
    ChainHead,
    Decision,
    PublishedHead,
    RecordEvent,
    Verification,
    chain,
)
from moderation.models.decisions import load_event_index


def drop_triggers() -> None:
    _run(append_only.unlock)


def restore_triggers() -> None:
    _run(append_only.lock)


def _set_constraints(when: str) -> None:
    """Set when PostgreSQL checks foreign keys: it changes no table with pending checks."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"SET CONSTRAINTS ALL {when}")


def _run(change: Callable[..., None]) -> None:
    _set_constraints("IMMEDIATE")

    # Not by the schema editor: SQLite allows it outside of transactions only.
    class Editor:
        def __init__(self) -> None:
            self.connection = connection

        def execute(self, statement: str) -> None:
            with connection.cursor() as cursor:
                cursor.execute(statement)

    change(apps, Editor())


@contextmanager
def without_triggers() -> Iterator[None]:
    """Change what the triggers protect, and leave no trace of that."""
    drop_triggers()
    _set_constraints("DEFERRED")
    yield
    restore_triggers()


def verify_chain(decisions: Iterable[Decision]) -> list[str]:
    """Return a message for each altered place of a whole record, given in order of sequence."""
    check = chain.ChainCheck(events=load_event_index())
    for row in decisions:
        check.read(row.read_covered())
    return check.faults


def rebuild_chain(change: Callable[[Decision], None], *, forgets_heads: bool = False) -> None:
    """Change decisions and sign both chains again with the key, so that they are consistent.

    ``forgets_heads``: also remove all that the database has of earlier heads.
    """
    with without_triggers():
        if forgets_heads:
            forget_heads()
        decisions = list(Decision.objects.order_by("sequence"))
        events = list(RecordEvent.objects.order_by("sequence"))
        for number, event in enumerate(events, start=1):
            event.sequence = number
        previous, event_hash = "", ""
        for row in sorted([*decisions, *events], key=_get_place):
            if isinstance(row, RecordEvent):
                row.previous_hash = event_hash
                row.hash = event_hash = row.compute_hash(previous)
            else:
                change(row)
                row.previous_hash = previous
                row.hash = previous = row.compute_hash()
            row.save()
        ChainHead.objects.filter(pk=1).update(
            hash=previous, events=len(events), event_hash=event_hash
        )


def _get_place(row: Decision | RecordEvent) -> tuple[int, int]:
    """Return the place of a row in the common order of both chains."""
    return (row.decisions, 1) if isinstance(row, RecordEvent) else (row.sequence, 0)


def forget_heads() -> None:
    kinds = [RecordEvent.Kind.HEAD, RecordEvent.Kind.VERIFICATION]
    RecordEvent.objects.filter(kind__in=kinds).delete()
    PublishedHead.objects.all().delete()
    Verification.objects.all().delete()


def unseal() -> None:
    """Make the record one of a version of Loupe without keys."""
    with without_triggers():
        ChainHead.objects.filter(pk=1).update(
            version=chain.UNSIGNED, key_id="", events=0, event_hash=""
        )
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM moderation_recordevent")
