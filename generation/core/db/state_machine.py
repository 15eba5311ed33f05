"""State machines with compare-and-swap transitions, and rows with a due date."""

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
    """Return the condition ``field__in`` as an OR of comparisons.

    For a list of more than two values SQLite builds a table on every execution.
    """
    return functools.reduce(operator.or_, (Q((field, str(value))) for value in values))


class InvalidTransitionError(Exception):
    """A transition that the stored row does not permit, or no longer: 409, never 403."""

    def __init__(self, row: models.Model, wanted: str) -> None:
        self.row, self.wanted = row, wanted
        super().__init__(f"This {row._meta.verbose_name} can no longer become {wanted}.")


class StateMachine(models.Model):
    """A model with a ``status`` that changes only through ``move_to``."""

    # From each status, the permitted next statuses. A test compares this with docs/architecture.md.
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
        """Change the status by compare-and-swap, if the stored row permits it.

        ``only_from`` limits the source to one status, ``where`` adds conditions (a lease, a claim),
        ``fields`` are written with the status. Raises InvalidTransitionError and changes nothing if
        the row has changed or no permitted transition leads to the status. ``reread=False`` skips
        the query that refreshes this object, and sets the given values instead: for callers that
        hold the row's lock. Expressions are not set.
        """
        sources = [source for source, targets in self.TRANSITIONS.items() if status in targets]
        if only_from:
            sources = [source for source in sources if source == only_from]
        if not sources or not _compare_and_swap(
            type(self), sources, {"pk": self.pk, **(where or {})}, {"status": status, **fields}
        ):
            raise InvalidTransitionError(self, status)
        if reread:
            self.refresh_from_db()
            return self
        for name, value in {"status": status, **fields}.items():
            if not hasattr(value, "resolve_expression"):
                setattr(self, name, value)
        return self


def _compare_and_swap(
    model: Any, sources: list[str], where: dict[str, Any], changes: dict[str, Any]
) -> int:
    """Run the UPDATE and return the number of changed rows."""
    given = {f"where_{name}": _to_plain_value(value) for name, value in where.items()}
    given |= {
        f"to_{name}": _to_plain_value(value) for name, value in changes.items() if value is not None
    }
    if any(type(value) not in (int, str, datetime, uuid.UUID) for value in given.values()):
        return int(model._default_manager.filter(status__in=sources, **where).update(**changes))
    kinds = tuple((name, type(value)) for name, value in given.items())
    emptied = tuple(name for name, value in changes.items() if value is None)
    return _prepare_move(model, tuple(sources), kinds, emptied).update(**given)


def _to_plain_value(value: Any) -> Any:
    """Return a value that prepared queries accept: primary key, plain string, or unchanged."""
    if isinstance(value, models.Model):
        return value.pk
    return str(value) if isinstance(value, str) else value


@functools.cache
def _prepare_move(
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
        """Return the rows whose due date has passed."""
        return self.filter(due_at__lte=timezone.now())

    def claim(
        self, *, limit: int, lease: timedelta, count_attempt: bool = False, first: str = "due_at"
    ) -> list[M]:
        """Claim up to ``limit`` due rows, the longest due ``first``, and return them.

        A claim reschedules the row: it becomes due again when the lease ends, so the rows of a dead
        worker are picked up without clean-up. The token in ``lease`` is a fence: a worker whose
        lease has expired finds another token.
        """
        candidates = self.due().order_by(first, "pk")
        if connections[self.db].features.has_select_for_update_skip_locked:
            candidates = candidates.select_for_update(skip_locked=True)
        token = uuid.uuid4()
        changes: dict[str, Any] = {"lease": token, "due_at": timezone.now() + lease}
        if count_attempt:
            # Counted before the risky step, so that a row that kills its worker is not retried
            # forever.
            changes["attempts"] = F("attempts") + 1
        with transaction.atomic(using=self.db):
            # Select first, then update: as a subquery of the UPDATE, PostgreSQL may run the SELECT
            # more than once, which skips the rows just updated and claims more than ``limit``.
            chosen = list(candidates.values_list("pk", flat=True)[:limit])
            taken = self.due().filter(pk__in=chosen).update(**changes) if chosen else 0
        return list(self.filter(lease=token)) if taken else []


class DueModel(models.Model):
    """A model with work to do. ``due_at`` is null when there is none."""

    due_at = models.DateTimeField(null=True, blank=True, editable=False)
    lease = models.UUIDField(null=True, blank=True, editable=False)
    attempts = models.PositiveSmallIntegerField(default=0, editable=False)

    class Meta:
        abstract = True


def due_index(name: str) -> models.Index:
    """Return a small partial index, usable with bound parameters on SQLite.

    A partial index on ``status`` is not.
    """
    return models.Index(fields=["due_at"], name=name, condition=Q(due_at__isnull=False))
