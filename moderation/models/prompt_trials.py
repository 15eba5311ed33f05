"""Prompt trials: a draft rule of words, replayed over the prompts of past requests."""

from __future__ import annotations

from typing import ClassVar
from uuid import uuid4

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from generation.core.db.state_machine import DueModel, DueQuerySet, due_index
from generation.core.urls import build_url
from generation.models import StateMachine


class PromptTrialQuerySet(DueQuerySet["PromptTrial"]):
    pass


class PromptTrial(StateMachine, DueModel):
    """A rule replayed over the requests of the last days. It blocks nothing."""

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
    rule = models.TextField(help_text="Words and phrases that block, with AND, OR and NOT.")
    allowed = models.TextField(blank=True, help_text="Phrases that never block, one a line.")
    days = models.PositiveSmallIntegerField()
    since = models.DateTimeField()  # the oldest request of the window
    last = models.BigIntegerField(default=0)  # the newest request of the window
    cursor = models.BigIntegerField(default=0)  # the last request that is counted
    counts = models.JSONField(default=dict)  # of an unfinished trial
    sample = models.JSONField(default=dict)  # figures of a random sample, made at once
    result = models.JSONField(default=dict)
    requests = models.PositiveIntegerField("requests so far", default=0)
    expected = models.PositiveIntegerField("requests expected", default=0)
    error = models.TextField(blank=True)
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = PromptTrialQuerySet.as_manager()

    class Meta:
        indexes = [due_index("prompt_trial_due")]
        constraints = [
            models.CheckConstraint(
                name="prompt_trial_status_known",
                condition=Q(status__in=["running", "finished", "cancelled", "failed"]),
            ),
        ]

    def __str__(self) -> str:
        return f"Prompt trial, {self.created_at:%Y-%m-%d %H:%M} UTC"

    @property
    def title(self) -> str:
        """The rule in one line."""
        return " OR ".join(line.strip() for line in self.rule.splitlines() if line.strip())

    def get_absolute_url(self) -> str:
        return build_url("moderation:prompt-trial-detail", self.uuid)

    @property
    def percent(self) -> int:
        return min(100, 100 * self.requests // self.expected) if self.expected else 0
