"""Checks of the whole record, and the heads of the chain that were published outside."""

from __future__ import annotations

from typing import ClassVar, Self

from django.conf import settings
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


class VerificationQuerySet(DueQuerySet["Verification"]):
    def finished(self) -> Self:
        return self.filter(status=Verification.Status.FINISHED)

    def find_newest(self) -> Verification | None:
        """Return the newest finished verification."""
        return self.finished().order_by("-pk").first()


class Verification(StateMachine, DueModel):
    """One check of the whole record, made in steps: its progress, then its result."""

    class Status(models.TextChoices):
        RUNNING = "running", "Running"
        FINISHED = "finished", "Finished"

    class Stage(models.TextChoices):
        """The part of the check that runs now, in this order."""

        DECISIONS = "decisions", "Decisions"
        STATES = "states", "States of the images"
        FILES = "files", "Files"

    TRANSITIONS: ClassVar[dict[str, tuple[str, ...]]] = {
        Status.RUNNING: (Status.FINISHED,),
        Status.FINISHED: (),
    }

    status = models.CharField(max_length=8, choices=Status, default=Status.RUNNING)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    finished_at = models.DateTimeField(null=True, blank=True, editable=False)
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        help_text="Empty: started by a command.",
    )
    decisions = models.BigIntegerField(help_text="Number of decisions read so far.")
    until = models.BigIntegerField(
        default=0, help_text="Last decision at the start, up to which the record is read."
    )
    # The hash of the last decision read, which the next one must name.
    last_hash = models.CharField(max_length=64, blank=True, editable=False)
    faults = models.PositiveIntegerField(
        default=0, help_text="Number of places where the record was altered."
    )
    messages = models.JSONField(
        default=list, blank=True, help_text="The first faults, one sentence each."
    )
    heads = models.PositiveIntegerField(
        "heads compared", default=0, help_text="Number of earlier heads that were compared."
    )
    head = models.CharField(
        max_length=64, blank=True, help_text="Last hash of the record at that time."
    )
    # Database defaults: processes of an older version of Loupe do not know these columns.
    stage = models.CharField(
        max_length=9, choices=Stage, default=Stage.DECISIONS, db_default=Stage.DECISIONS
    )
    # In the stage: the primary key of the last row that was read.
    position = models.BigIntegerField(default=0, db_default=0, editable=False)
    events_until = models.BigIntegerField(
        "events", default=0, db_default=0, help_text="Last event of the record at the start."
    )
    event_head = models.CharField(
        max_length=64,
        default="",
        db_default="",
        blank=True,
        help_text="Last hash of the events at that time.",
    )
    reviews = models.BigIntegerField(
        default=0, db_default=0, help_text="Number of images whose state was replayed."
    )
    files = models.PositiveIntegerField(
        "files read", default=0, db_default=0, help_text="Number of files compared with their hash."
    )
    reads_all_files = models.BooleanField(
        default=False, db_default=False, help_text="All files are read, not only a sample."
    )

    objects = VerificationQuerySet.as_manager()

    class Meta:
        indexes = [due_index("verification_due")]
        constraints = [
            models.CheckConstraint(
                name="verification_status_known",
                condition=one_of("status", ["running", "finished"]),
            ),
            models.UniqueConstraint(
                fields=["status"],
                name="verification_one_running",
                condition=Q(status="running"),
            ),
        ]

    def __str__(self) -> str:
        return (
            f"{self.created_at:%Y-%m-%d %H:%M} UTC: {self.faults} faults in {self.decisions}"
            " decisions"
        )

    @property
    def is_running(self) -> bool:
        return self.status == self.Status.RUNNING

    @property
    def percent(self) -> int:
        """The share of the decisions that were read."""
        return 100 * self.decisions // self.until if self.until else 100

    @property
    def more_faults(self) -> int:
        """Return the number of faults without a stored message."""
        return max(0, self.faults - len(self.messages))


class PublishedHeadQuerySet(DueQuerySet["PublishedHead"]):
    def published(self) -> Self:
        return self.filter(status=PublishedHead.Status.PUBLISHED)

    def failing(self) -> Self:
        """Return the heads whose last attempt failed and that are tried again."""
        return self.filter(status=PublishedHead.Status.WAITING, attempts__gt=0).exclude(error="")


class PublishedHead(StateMachine, DueModel):
    """A signed statement of the head of the chain, for one place outside of the database."""

    class Target(models.TextChoices):
        FILE = "file", "File"
        ADDRESS = "address", "Address"
        MAIL = "mail", "Mail"
        STAMP = "stamp", "Time stamp"

    class Status(models.TextChoices):
        WAITING = "waiting", "Waiting"
        PUBLISHED = "published", "Published"
        SUPERSEDED = "superseded", "Superseded by a newer one"

    TRANSITIONS: ClassVar[dict[str, tuple[str, ...]]] = {
        Status.WAITING: (Status.PUBLISHED, Status.SUPERSEDED),
        Status.PUBLISHED: (),
        Status.SUPERSEDED: (),
    }

    target = models.CharField(max_length=7, choices=Target)
    # The configured path, URL without credentials, or mail addresses, as they were then.
    place = models.TextField()
    sequence = models.BigIntegerField()
    hash = models.CharField(max_length=64)
    statement = models.JSONField(help_text="The statement as it was signed.")
    receipt = models.TextField(
        "time stamp",
        default="",
        db_default="",
        blank=True,
        help_text="Answer of the time stamp authority (RFC 3161), in Base64.",
    )
    status = models.CharField(max_length=10, choices=Status, default=Status.WAITING)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    published_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = PublishedHeadQuerySet.as_manager()

    class Meta:
        indexes = [
            due_index("published_head_due"),
            models.Index(fields=["sequence"], name="published_head_sequence"),
        ]
        constraints = [
            models.CheckConstraint(
                name="published_head_target_known",
                condition=one_of("target", ["file", "address", "mail", "stamp"]),
            ),
            models.CheckConstraint(
                name="published_head_status_known",
                condition=one_of("status", ["waiting", "published", "superseded"]),
            ),
        ]

    def __str__(self) -> str:
        return f"Head {self.sequence}, {self.get_target_display().lower()}"
