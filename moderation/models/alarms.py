"""Alarms about the installation, and the notices that they send."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from generation.core.db.state_machine import (
    DueModel,
    DueQuerySet,
    StateMachine,
    due_index,
    one_of,
)
from moderation.service_names import name_service


class AlarmQuerySet(models.QuerySet["Alarm"]):
    def active(self) -> Self:
        """Return suspected and open alarms."""
        return self.filter(one_of("status", [Alarm.Status.SUSPECTED, Alarm.Status.OPEN]))

    def open(self) -> Self:
        return self.filter(status=Alarm.Status.OPEN)


class Alarm(StateMachine):
    """A condition that needs a person: suspected at first sight, open when it lasts."""

    class Kind(models.TextChoices):
        QUEUE = "queue", "Images wait too long"
        ESCALATED = "escalated", "Escalated images are not settled"
        JOBS = "jobs", "Due work is not done"
        WORKER = "worker", "A worker is silent"
        PROVIDER = "provider", "A service fails"
        SPENDING = "spending", "Spending nears its limit"
        STORAGE = "storage", "Images cannot be stored"
        FAULTS = "faults", "The record was altered"
        UNVERIFIED = "unverified", "The record was not verified"
        HEADS = "heads", "The head of the record is not published"
        CHORES = "chores", "Housekeeping fails"
        BACKUP = "backup", "The backup is old"
        LIMITS = "limits", "A limit of views or exports was reached"
        TEST = "test", "Test"

    class Status(models.TextChoices):
        SUSPECTED = "suspected", "Suspected"
        OPEN = "open", "Open"
        CLOSED = "closed", "Closed"

    TRANSITIONS: ClassVar[dict[str, tuple[str, ...]]] = {
        Status.SUSPECTED: (Status.OPEN,),
        Status.OPEN: (Status.CLOSED,),
        Status.CLOSED: (),
    }

    kind = models.CharField(max_length=10, choices=Kind)
    subject = models.CharField(
        max_length=255, blank=True, help_text="The service or host that it is about."
    )
    status = models.CharField(max_length=9, choices=Status, default=Status.SUSPECTED)
    message = models.TextField(help_text="What is wrong and what to do, for people.")
    first_seen_at = models.DateTimeField(default=timezone.now, editable=False)
    last_seen_at = models.DateTimeField(default=timezone.now, editable=False)
    opened_at = models.DateTimeField(null=True, blank=True, editable=False)
    closed_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = AlarmQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["-closed_at"], name="alarm_closed")]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subject"],
                name="alarm_one_active",
                condition=Q(status__in=["suspected", "open"]),
            ),
            models.CheckConstraint(
                name="alarm_status_known",
                condition=one_of("status", ["suspected", "open", "closed"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.title} ({self.get_status_display().lower()})"

    @property
    def title(self) -> str:
        """Return the kind with the name of its subject."""
        subject = name_service(self.subject) if self.kind == self.Kind.PROVIDER else self.subject
        return f"{self.get_kind_display()}: {subject}" if subject else self.get_kind_display()


class AlarmNotice(DueModel):
    """A message about an alarm through one channel, tried until it is accepted."""

    class Channel(models.TextChoices):
        MAIL = "mail", "Mail"
        WEBHOOK = "webhook", "Webhook"

    class Event(models.TextChoices):
        OPENED = "opened", "Started"
        REPEATED = "repeated", "Still open"
        CLOSED = "closed", "Ended"

    alarm = models.ForeignKey(Alarm, on_delete=models.CASCADE, related_name="notices")
    channel = models.CharField(max_length=7, choices=Channel)
    event = models.CharField(max_length=8, choices=Event)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    sent_at = models.DateTimeField(null=True, blank=True, editable=False)
    error = models.TextField(blank=True)

    objects = DueQuerySet["AlarmNotice"].as_manager()

    class Meta:
        indexes = [due_index("alarm_notice_due")]

    def __str__(self) -> str:
        return f"{self.alarm}: {self.get_event_display()}, {self.get_channel_display()}"


class AlarmCheck(DueModel):
    """The schedule of the check of all alarms: one row."""

    checked_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = DueQuerySet["AlarmCheck"].as_manager()

    class Meta:
        indexes = [due_index("alarm_check_due")]

    def __str__(self) -> str:
        return f"Alarms, checked {self.checked_at or 'never'}"
