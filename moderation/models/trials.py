"""Columns and states that policy trials and prompt trials share."""

from __future__ import annotations

from typing import ClassVar
from uuid import uuid4

from django.conf import settings
from django.db import models
from django.utils import timezone

from generation.core.db.state_machine import DueModel
from generation.models import StateMachine


class Trial(StateMachine, DueModel):
    """A draft that is replayed over past rows in steps, and changes nothing."""

    class Status(models.TextChoices):
        RUNNING = "running", "Running"
        FINISHED = "finished", "Finished"
        CANCELLED = "cancelled", "Cancelled"
        FAILED = "failed", "Failed"

    TRANSITIONS: ClassVar[dict[str, tuple[str, ...]]] = {
        Status.RUNNING: (Status.FINISHED, Status.CANCELLED, Status.FAILED),
        Status.FINISHED: (),
        Status.CANCELLED: (),
        Status.FAILED: (),
    }

    uuid = models.UUIDField("UUID", default=uuid4, unique=True, editable=False)
    status = models.CharField(max_length=9, choices=Status, default=Status.RUNNING)
    days = models.PositiveSmallIntegerField()
    cursor = models.BigIntegerField(default=0)  # primary key of the last row that is counted
    counts = models.JSONField(default=dict)  # of an unfinished trial
    sample = models.JSONField(default=dict)  # figures of a random sample, made at once
    result = models.JSONField(default=dict)
    error = models.TextField(blank=True)
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True
