"""Open and close alarms. Safe to call at any time, by workers and by a timer side by side.

No flapping: a condition must last before its alarm opens, and must be gone before it closes. An
alarm sends one notice at its start, one a day while it lasts, and one at its end.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.utils import timezone

from generation import jobs
from moderation.models import Alarm, AlarmCheck, AlarmNotice
from moderation.services.alarms import notices
from moderation.services.alarms.conditions import Finding, find_all

Status = Alarm.Status
Event = AlarmNotice.Event

INTERVAL: Final = timedelta(minutes=1)
OPENS_AFTER: Final = timedelta(minutes=2)
CLOSES_AFTER: Final = timedelta(minutes=5)
REPEATS_AFTER: Final = timedelta(hours=24)
KEPT: Final = timedelta(days=90)


def add_check() -> None:
    """Create the row of the schedule when a worker starts."""
    AlarmCheck.objects.bulk_create([AlarmCheck(pk=1, due_at=timezone.now())], ignore_conflicts=True)


def check_all() -> list[Alarm]:
    """Compare the conditions with the alarms, and return the open ones."""
    found, failed = find_all()
    now = timezone.now()
    add_check()
    with transaction.atomic():
        # One check at a time: the row of the schedule is the lock.
        AlarmCheck.objects.select_for_update().get(pk=1)
        active = {(alarm.kind, alarm.subject): alarm for alarm in Alarm.objects.active()}
        for finding in found:
            _note_finding(active.pop((finding.kind, finding.subject), None), finding, now)
        _end_alarms([alarm for alarm in active.values() if alarm.kind not in failed], now)
        _repeat_notices(now)
        AlarmCheck.objects.filter(pk=1).update(checked_at=now, due_at=now + INTERVAL, lease=None)
    return list(Alarm.objects.open().order_by("opened_at"))


def _note_finding(alarm: Alarm | None, finding: Finding, now: datetime) -> None:
    if alarm is None:
        Alarm.objects.create(
            kind=finding.kind,
            subject=finding.subject,
            message=finding.message,
            first_seen_at=now,
            last_seen_at=now,
        )
        return
    Alarm.objects.filter(pk=alarm.pk).update(message=finding.message, last_seen_at=now)
    if alarm.status == Status.SUSPECTED and now - alarm.first_seen_at >= OPENS_AFTER:
        alarm.move_to(Status.OPEN, opened_at=now)
        notices.order(alarm, Event.OPENED)


def _end_alarms(alarms: Collection[Alarm], now: datetime) -> None:
    """Close alarms whose condition is gone; forget those that never opened."""
    for alarm in alarms:
        if now - alarm.last_seen_at < CLOSES_AFTER:
            continue
        if alarm.status == Status.SUSPECTED:
            alarm.delete()
            continue
        alarm.move_to(Status.CLOSED, closed_at=now)
        notices.order(alarm, Event.CLOSED)


def _repeat_notices(now: datetime) -> None:
    for alarm in Alarm.objects.open():
        last = alarm.notices.order_by("-created_at").values_list("created_at", flat=True).first()
        if last is not None and now - last >= REPEATS_AFTER:
            notices.order(alarm, Event.REPEATED)


def open_test_alarm() -> Alarm:
    """Open a test alarm, which closes like any other when its condition is gone."""
    now = timezone.now()
    with transaction.atomic():
        Alarm.objects.filter(kind=Alarm.Kind.TEST, status=Status.SUSPECTED).delete()
        alarm = Alarm.objects.open().filter(kind=Alarm.Kind.TEST).first()
        if alarm is None:
            alarm = Alarm.objects.create(
                kind=Alarm.Kind.TEST,
                status=Status.OPEN,
                message="This is a test. To do: nothing. A second notice says that it has ended.",
                opened_at=now,
            )
            notices.order(alarm, Event.OPENED)
    jobs.wake("alarm_notices")
    return alarm


def delete_old(limit: int) -> int:
    """Delete up to ``limit`` alarms that closed long ago; return their number."""
    old = Alarm.objects.filter(closed_at__lt=timezone.now() - KEPT).order_by("pk")
    pks = list(old.values_list("pk", flat=True)[:limit])
    Alarm.objects.filter(pk__in=pks).delete()
    return len(pks)
