"""Traces of looking and exporting, and their limits per hour.

Judging leaves no trace here: the record names who decided, and what is on the screen of the person
who holds the claim is counted for that person only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.db.models import Count, Max, Sum
from django.utils import timezone

from generation.models import Asset
from generation.signals import TooManyViewsError
from moderation.models import AccessTrace, Review
from moderation.services.exports.formats import Chunk

if TYPE_CHECKING:
    from django.contrib.auth.models import User

Kind = AccessTrace.Kind
HOUR: Final = timedelta(hours=1)
# A browser that loads the same image again leaves one trace.
REPEATED: Final = timedelta(minutes=10)


class ExportLimitError(Exception):
    """An export beyond the limits per hour. ``str(error)`` is a message for the person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """A person whom a limit refused something."""

    person: str
    count: int
    last_at: datetime


def note_view(*, person: User, asset: Asset, kind: AccessTrace.Kind = Kind.IMAGE) -> None:
    """Note that a person gets an image, unless they hold it to judge it.

    Raises TooManyViewsError.
    """
    now = timezone.now()
    held = Review.objects.filter(asset=asset, claimed_by=person, claimed_until__gte=now)
    if held.exists():
        return
    recent = AccessTrace.objects.filter(asset=asset, person=person, kind=kind)
    if recent.filter(created_at__gte=now - REPEATED).exists():
        return
    limit = settings.VIEWS_PER_HOUR
    if limit and AccessTrace.objects.of_person(person.pk, now - HOUR).views().count() >= limit:
        _note_refusal(person, {"limit": "VIEWS_PER_HOUR"})
        raise TooManyViewsError(
            f"You have opened {limit} images outside of judging in an hour, which is the limit here"
            " (VIEWS_PER_HOUR). Try again later, or ask an operator."
        )
    AccessTrace.objects.create(
        kind=kind, person=person, person_name=person.get_username(), asset=asset
    )


def start_export(
    *, person: User, kind: str, file_format: str, filters: Mapping[str, Any]
) -> AccessTrace:
    """Note the start of an export. Raises ExportLimitError."""
    since = timezone.now() - HOUR
    own = AccessTrace.objects.of_person(person.pk, since)
    if settings.EXPORTS_PER_HOUR:
        count = own.filter(kind=Kind.EXPORT).count()
        _require(person, "EXPORTS_PER_HOUR", count, f"You have made {count} exports in an hour")
    if settings.EXPORT_ROWS_PER_HOUR:
        rows = own.filter(kind=Kind.EXPORT_END).aggregate(rows=Sum("rows"))["rows"] or 0
        _require(person, "EXPORT_ROWS_PER_HOUR", rows, f"You have exported {rows} rows in an hour")
    return AccessTrace.objects.create(
        kind=Kind.EXPORT,
        person=person,
        person_name=person.get_username(),
        details={"export": kind, "format": file_format, "filters": dict(filters)},
    )


def _require(person: User, limit: str, count: int, message: str) -> None:
    if count < getattr(settings, limit):
        return
    _note_refusal(person, {"limit": limit})
    raise ExportLimitError(
        f"{message}, which is the limit here ({limit}). Try again later, or ask an operator."
    )


def _note_refusal(person: User, details: dict[str, Any]) -> None:
    """Note a refusal, once in ten minutes for each person."""
    since = timezone.now() - REPEATED
    if AccessTrace.objects.of_person(person.pk, since).filter(kind=Kind.REFUSED).exists():
        return
    AccessTrace.objects.create(
        kind=Kind.REFUSED, person=person, person_name=person.get_username(), details=details
    )


def iter_export(start: AccessTrace, chunks: Iterable[Chunk]) -> Generator[bytes]:
    """Yield the data of an export, and note its end: complete, or interrupted.

    An export without an end was interrupted by the end of the process.
    """
    digest, rows, is_complete = hashlib.sha256(), 0, False
    try:
        for chunk in chunks:
            digest.update(chunk.data)
            rows += chunk.rows
            yield chunk.data
        is_complete = True
    finally:
        AccessTrace.objects.create(
            kind=Kind.EXPORT_END,
            person_id=start.person_id,
            person_name=start.person_name,
            start=start,
            details=start.details,
            rows=rows,
            sha256=digest.hexdigest(),
            is_complete=is_complete,
        )


def find_excess(since: datetime) -> list[Excess]:
    """Return the people whom a limit refused something since a time, the last one first."""
    rows = (
        AccessTrace.objects.filter(kind=Kind.REFUSED, created_at__gte=since)
        .values("person_name")
        .annotate(count=Count("pk"), last_at=Max("created_at"))
        .order_by("-last_at")
    )
    return [
        Excess(person=row["person_name"], count=row["count"], last_at=row["last_at"])
        for row in rows
    ]
