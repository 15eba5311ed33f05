"""One status column, one table of moves, one way to move; and rows that are due. The database has
the last word.
"""

from __future__ import annotations

import functools
import operator
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self, TypeVar

from django.db import connections, models, transaction
from django.db.models import F, Q
from django.utils import timezone

from generation.core.db.prepared.query import PreparedQuery


def one_of(field: str, values: Iterable[str]) -> Q:
    """As ``field__in``, said one by one: of a list of more than two SQLite makes a table each time
    it looks.
    """
    return functools.reduce(operator.or_, (Q((field, str(value))) for value in values))


class InvalidTransitionError(Exception):
    """The stored row may not (any more) go where it was asked to. Not a matter of permission: 409,
    never 403.
    """

    def __init__(self, row: models.Model, wanted: str) -> None:
        self.row, self.wanted = row, wanted
        super().__init__(f"This {row._meta.verbose_name} cannot become {wanted} any more.")


class StateMachine(models.Model):
    """A row with a ``status`` that changes only through ``move_to``."""

    # From each status, the statuses it may go to. docs/architecture.md draws it; a test compares
    # the two.
    TRANSITIONS: ClassVar[dict[str, tuple[str, ...]]] = {}
    status: models.CharField[str, str]

    class Meta:
        abstract = True

    def move_to(
        self,
        status: str,
        *,
        only_from: str = "",
        where: dict[str, Any] | None = None,
        reread: bool = True,
        **fields: Any,
    ) -> Self:
        """Compare and swap in the database: change the status if the stored row may still do so.

        ``only_from`` narrows the allowed sources to one, ``where`` adds conditions (a lease, a
        claim), ``fields`` are written with the status. Raises InvalidTransition and changes nothing
        if the row has moved on. ``reread=False`` spares the query that brings this object up to
        date, for whoever holds the row locked and reads it no more.
        """
        sources = [source for source, targets in self.TRANSITIONS.items() if status in targets]
        if only_from:
            sources = [source for source in sources if source == only_from]
        if not _swap(
            type(self), sources, {"pk": self.pk, **(where or {})}, {"status": status, **fields}
        ):
            raise InvalidTransitionError(self, status)
        if reread:
            self.refresh_from_db()
        return self


def _swap(model: Any, sources: list[str], where: dict[str, Any], changes: dict[str, Any]) -> int:
    """How many rows it changed."""
    given = {f"where_{name}": _plain(value) for name, value in where.items()}
    given |= {f"to_{name}": _plain(value) for name, value in changes.items() if value is not None}
    if any(type(value) not in (int, str, datetime, uuid.UUID) for value in given.values()):
        return int(model._default_manager.filter(status__in=sources, **where).update(**changes))
    kinds = tuple((name, type(value)) for name, value in given.items())
    emptied = tuple(name for name, value in changes.items() if value is None)
    return _move(model, tuple(sources), kinds, emptied).update(**given)


def _plain(value: Any) -> Any:
    if isinstance(value, models.Model):
        return value.pk
    return str(value) if isinstance(value, str) else value


@functools.cache
def _move(
    model: Any,
    sources: tuple[str, ...],
    kinds: tuple[tuple[str, Any], ...],
    emptied: tuple[str, ...],
) -> PreparedQuery[Any]:
    def build(**given: Any) -> tuple[models.QuerySet[Any], dict[str, Any]]:
        where = {
            name.removeprefix("where_"): value
            for name, value in given.items()
            if name.startswith("where_")
        }
        changes = {
            name.removeprefix("to_"): value
            for name, value in given.items()
            if name.startswith("to_")
        }
        rows = model._default_manager.filter(one_of("status", sources), **where)
        return rows, {**changes, **dict.fromkeys(emptied)}

    return PreparedQuery(build, **dict(kinds))


M = TypeVar("M", bound="DueModel")


class DueQuerySet(models.QuerySet[M]):
    def due(self) -> Self:
        return self.filter(due_at__lte=timezone.now())

    def claim(
        self, *, limit: int, lease: timedelta, count_attempt: bool = False, first: str = "due_at"
    ) -> list[M]:
        """Take up to ``limit`` due rows, the longest due ``first``, and return them.

        Claiming is rescheduling: the row becomes due again when the lease ends, so whatever a dead
        worker held is picked up without any clean-up. The token in ``lease`` fences: a holder whose
        lease ran out finds another one.
        """
        candidates = self.due().order_by(first, "pk")
        if connections[self.db].features.has_select_for_update_skip_locked:
            candidates = candidates.select_for_update(skip_locked=True)
        token = uuid.uuid4()
        changes: dict[str, Any] = {"lease": token, "due_at": timezone.now() + lease}
        if count_attempt:
            # Counted before the risky step, so that a row that kills its worker is not tried for
            # ever.
            changes["attempts"] = F("attempts") + 1
        with transaction.atomic(using=self.db):
            # First the rows, then the UPDATE: as a subquery of it PostgreSQL may run the SELECT
            # more than once, which skips what it has just updated and takes more than was asked
            # for.
            chosen = list(candidates.values_list("pk", flat=True)[:limit])
            taken = self.due().filter(pk__in=chosen).update(**changes) if chosen else 0
        return list(self.filter(lease=token)) if taken else []


class DueModel(models.Model):
    """A row that waits for work. ``due_at`` is empty when there is nothing to do."""

    due_at = models.DateTimeField(null=True, blank=True, editable=False)
    lease = models.UUIDField(null=True, blank=True, editable=False)
    attempts = models.PositiveSmallIntegerField(default=0, editable=False)

    class Meta:
        abstract = True


def due_index(name: str) -> models.Index:
    """Small, and usable with bound parameters on SQLite too (a partial index on ``status`` is
    not).
    """
    return models.Index(fields=["due_at"], name=name, condition=Q(due_at__isnull=False))
