"""Calls of outside services, runs of classifiers and of jobs, kept until they are counted."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class ServiceCall(models.Model):
    """Calls of one kind with one outcome. The job that counts them deletes the rows."""

    class Kind(models.TextChoices):
        SUBMIT = "submit", "Submission"
        POLL = "poll", "Poll"
        CLASSIFY = "classify", "Classification"
        DELIVER = "deliver", "Webhook"
        DOWNLOAD = "download", "Download of an image"
        JOB = "job", "Run of a job"

    class Outcome(models.TextChoices):
        DONE = "done", "Done"
        RETRIED = "retried", "Tried again later"
        FAILED = "failed", "Failed"
        SKIPPED = "skipped", "Not asked"

    service = models.CharField(max_length=40, help_text="Provider, classifier, job, or “webhooks”.")
    kind = models.CharField(max_length=8, choices=Kind)
    outcome = models.CharField(max_length=7, choices=Outcome)
    count = models.PositiveIntegerField(default=1)
    milliseconds = models.PositiveIntegerField(null=True, blank=True, help_text="Of one call.")
    cost = models.DecimalField(max_digits=12, decimal_places=6, default=0, help_text="USD")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {self.service}: {self.get_outcome_display()}"
