"""State of the simulated Novita: tasks and rejected calls.

There is no background work: start and end of a task are fixed at submission, and its state follows
from the clock.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.db import models, transaction
from django.db.models import F, Max
from django.utils import timezone

from generation.sandbox.cards import Steering, parse_steering
from generation.wire import task as wire
from generation.wire.txt2img import Txt2ImgBody

LANES = 4  # simulated machines, so that the images of a batch arrive one after the other
KEPT_FOR = timedelta(days=7)
BUSY_TIMES = 2  # how often sandbox:busy rejects a body before it is accepted
SLOW_FACTOR = 10


class SandboxTaskQuerySet(models.QuerySet["SandboxTask"]):
    """Operations on all tasks of the simulated provider."""

    def submit(self, body: Txt2ImgBody, seed: int) -> SandboxTask:
        """Store a task on the lane that becomes free first; delete tasks older than KEPT_FOR."""
        now = timezone.now()
        steering = parse_steering(body.request.prompt)
        with transaction.atomic():
            self.filter(ready_at__lt=now - KEPT_FOR).delete()
            busy = dict(
                self.filter(ready_at__gt=now)
                .values_list("lane")
                .annotate(Max("ready_at"))
                .order_by()
            )
            lane = min(range(LANES), key=lambda number: busy.get(number, now))
            starts_at = max(busy.get(lane, now), now)
            return self.create(
                body=body.model_dump(mode="json"),
                seed=str(seed),
                lane=lane,
                fails="fail" in steering,
                submitted_at=now,
                starts_at=starts_at,
                ready_at=starts_at + _compute_duration(body, seed, steering),
            )


def _compute_duration(body: Txt2ImgBody, seed: int, steering: Steering) -> timedelta:
    """Return SANDBOX_LATENCY per image, varied by up to 20 %.

    Tasks therefore end at different times, as real ones do.
    """
    uneven = 0.8 + 0.4 * (seed % 97) / 96
    factor = SLOW_FACTOR if "slow" in steering else 1
    return timedelta(seconds=settings.SANDBOX_LATENCY * body.request.image_num * factor * uneven)


class SandboxTask(models.Model):
    """A task of the simulated Novita."""

    task_id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    body = models.JSONField()  # as accepted, including all defaults
    seed = models.CharField(max_length=20)  # the actual seed, if -1 was sent
    lane = models.PositiveSmallIntegerField()
    fails = models.BooleanField(default=False)
    submitted_at = models.DateTimeField()
    starts_at = models.DateTimeField()
    ready_at = models.DateTimeField()

    objects = SandboxTaskQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["ready_at"], name="sandboxtask_ready")]

    def __str__(self) -> str:
        return str(self.task_id)

    @property
    def accepted(self) -> Txt2ImgBody:
        return Txt2ImgBody.model_validate(self.body)

    def status(self, now: datetime) -> str:
        """Return one of Novita's four statuses at a time."""
        if now < self.starts_at:
            return wire.STATUS_QUEUED
        if now < self.ready_at:
            return wire.STATUS_PROCESSING
        return wire.STATUS_FAILED if self.fails else wire.STATUS_SUCCEED

    def progress(self, now: datetime) -> int:
        """Return the progress in percent; 0 before and, as Novita does, after the work."""
        if self.status(now) != wire.STATUS_PROCESSING:
            return 0
        share = (now - self.starts_at) / (self.ready_at - self.starts_at)
        return min(max(int(share * 100), 1), 99)

    def eta(self, now: datetime) -> int:
        """Return the seconds until the end; 0 afterwards."""
        return max(0, round((self.ready_at - now).total_seconds()))


class SandboxRefusalQuerySet(models.QuerySet["SandboxRefusal"]):
    def turns_away(self, digest: str) -> bool:
        """Count a try of a body; return True for the first BUSY_TIMES, then start over."""
        with transaction.atomic():
            row, _ = self.get_or_create(digest=digest)
            self.filter(pk=row.pk).update(count=F("count") + 1)
            if row.count < BUSY_TIMES:
                return True
            row.delete()
            return False


class SandboxRefusal(models.Model):
    """A body rejected by ``sandbox:busy``, and the number of rejections."""

    digest = models.CharField(max_length=64, unique=True)
    count = models.PositiveSmallIntegerField(default=0)

    objects = SandboxRefusalQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.digest[:8]} × {self.count}"
