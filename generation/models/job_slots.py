"""Rows of the jobs: wake-ups on their way, and runs. Losing all of them costs seconds."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Self

from django.db import models
from django.utils import timezone


class JobSlotQuerySet(models.QuerySet["JobSlot"]):
    def running(self, now: datetime) -> Self:
        """Slots with a valid lease. One from a clock that was set back since is not valid."""
        return self.filter(running_until__gt=now, running_until__lte=now + 2 * JobSlot.LEASE)

    def free(self, now: datetime) -> Self:
        return self.exclude(pk__in=self.running(now).values("pk"))

    def alive(self, now: datetime) -> Self:
        """Slots of hosts whose worker has sent a heartbeat lately."""
        return self.running(now).filter(name=JobSlot.WORKER)

    def claim(self, *, name: str, host: str, slots: int) -> JobSlot | None:
        """Take the first free slot of up to ``slots``; None if all are taken."""
        known = {slot.number: slot for slot in self.filter(name=name, host=host)}
        for number in range(slots):
            slot = known.get(number)
            if slot is None:
                slot, _ = self.get_or_create(name=name, host=host, number=number)
            now = timezone.now()
            if not slot.is_running(now) and slot.extend(now + JobSlot.LEASE):
                return slot
        return None


class JobSlot(models.Model):
    """A place for one run of a job on one host; without a host, the job's wake-up for all hosts."""

    ANY_HOST = ""
    # Name of the row that holds a worker's heartbeat; no job may have it.
    WORKER = "worker"
    # A job renews it while it works; its longest outside call must be shorter.
    LEASE = timedelta(seconds=60)
    # A message that no run has started by then counts as lost, and the next tick sends another.
    LOST_AFTER = timedelta(seconds=5)

    name = models.CharField(max_length=40)
    host = models.CharField(max_length=255, blank=True)
    number = models.PositiveSmallIntegerField(default=0)
    wanted_at = models.DateTimeField(null=True, blank=True)
    running_until = models.DateTimeField(null=True, blank=True)

    objects = JobSlotQuerySet.as_manager()

    class Meta:
        verbose_name = "job slot"
        ordering = ("name", "host", "number")
        constraints = (
            models.UniqueConstraint(
                fields=("name", "host", "number"), name="pump_slot_once_per_name_host_number"
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} on {self.host or 'any host'}, slot {self.number}"

    def is_wanted(self, now: datetime) -> bool:
        """Return whether a message is on its way."""
        wanted = self.wanted_at
        return wanted is not None and now - self.LOST_AFTER < wanted <= now + self.LOST_AFTER

    def is_running(self, now: datetime) -> bool:
        until = self.running_until
        return until is not None and now < until <= now + 2 * self.LEASE

    def extend(self, until: datetime | None) -> bool:
        """Move the lease, or end it with None; False if the slot was freed or taken meanwhile."""
        return self._swap("running_until", until)

    def note_wakeup(self, now: datetime) -> bool:
        """Note that a message is about to be sent; False if another process was first."""
        return self._swap("wanted_at", now)

    def _swap(self, field: str, value: Any) -> bool:
        """Set a column if it still has the value that was read."""
        rows = JobSlot.objects.filter(pk=self.pk, **{field: getattr(self, field)})
        if not rows.update(**{field: value}):
            return False
        setattr(self, field, value)
        return True
