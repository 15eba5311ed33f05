"""Prompt trials: a draft rule of words, replayed over the prompts of past requests."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from generation.core.db.state_machine import DueQuerySet, due_index
from generation.core.urls import build_url
from moderation.models.trials import Trial


class PromptTrialQuerySet(DueQuerySet["PromptTrial"]):
    pass


class PromptTrial(Trial):
    """A rule replayed over the requests of the last days. It blocks nothing."""

    rule = models.TextField(help_text="Words and phrases that block, with AND, OR and NOT.")
    allowed = models.TextField(blank=True, help_text="Phrases that never block, one a line.")
    since = models.DateTimeField()  # the oldest request of the window
    last = models.BigIntegerField(default=0)  # the newest request of the window
    requests = models.PositiveIntegerField("requests so far", default=0)
    expected = models.PositiveIntegerField("requests expected", default=0)

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
