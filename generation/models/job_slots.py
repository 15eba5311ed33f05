"""Who rings and who runs: the rows behind ``generation.jobs``. Losing all of them costs seconds."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Self

from django.db import models
from django.db.models import Q


class JobSlotQuerySet(models.QuerySet["JobSlot"]):
    def running(self, now: datetime) -> Self:
        """Slots whose lease holds. A lease from a clock that has since been set back does not
        count.
        """
        return self.filter(running_until__gt=now, running_until__lte=now + 2 * JobSlot.LEASE)

    def free(self, now: datetime) -> Self:
        return self.exclude(pk__in=self.running(now).values("pk"))

    def claim(self, *, name: str, host: str, number: int, now: datetime) -> datetime | None:
        """Take one slot by compare and swap; return the end of the lease, which is also its
        token.
        """
        until = now + JobSlot.LEASE
        open_ = (
            Q(running_until=None)
            | Q(running_until__lte=now)
            | Q(running_until__gt=now + 2 * JobSlot.LEASE)
        )
        taken = self.filter(open_, name=name, host=host, number=number).update(running_until=until)
        return until if taken else None

    def extend(
        self, *, name: str, host: str, number: int, held: datetime, until: datetime | None
    ) -> bool:
        """Move the lease on, or end it with ``None``; False when the slot has been freed or taken
        meanwhile.
        """
        return bool(
            self.filter(name=name, host=host, number=number, running_until=held).update(
                running_until=until
            )
        )

    def alive(self, now: datetime) -> Self:
        """The hosts whose worker has been heard of lately."""
        return self.running(now).filter(name=JobSlot.WORKER)

    def send_wakeup(self, *, name: str, now: datetime) -> bool:
        """Note that a message is about to be sent; False when one is still on its way."""
        stale = (
            Q(wanted_at=None)
            | Q(wanted_at__lte=now - JobSlot.LOST_AFTER)
            | Q(wanted_at__gt=now + JobSlot.LOST_AFTER)
        )
        return bool(self.filter(stale, name=name, host=JobSlot.ANY_HOST).update(wanted_at=now))


class JobSlot(models.Model):
    """A place for one run of a pump on one host; and, with no host, the pump's bell, which all
    hosts share.
    """

    ANY_HOST = ""
    # The name of the row by which a host's worker says that it is alive. No pump may be called so.
    WORKER = "worker"
    # A pump renews while it works; its longest outside call must be shorter than this.
    LEASE = timedelta(seconds=60)
    # A message that has not been started by then counts as lost, and the next tick sends another.
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
        wanted = self.wanted_at
        return wanted is not None and now - self.LOST_AFTER < wanted <= now + self.LOST_AFTER

    def is_running(self, now: datetime) -> bool:
        until = self.running_until
        return until is not None and now < until <= now + 2 * self.LEASE
