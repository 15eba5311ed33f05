"""State of providers and imports: health, rate limit, import progress."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone


class ProviderState(models.Model):
    """One row per provider, classifier service or importer that is called over the network."""

    slug = models.CharField(max_length=40, unique=True)
    last_success_at = models.DateTimeField(null=True, blank=True)
    last_error_at = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True)
    # Token bucket of images per minute: the number of tokens at tokens_at. Null: full.
    tokens = models.DecimalField(max_digits=10, decimal_places=4, null=True, blank=True)
    tokens_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.slug


class ImportRun(models.Model):
    """An import of a provider's listing, page by page.

    The cursor moves only after a whole page is stored.
    """

    class Status(models.TextChoices):
        RUNNING = "running", "Running"
        FINISHED = "finished", "Finished"
        FAILED = "failed", "Failed"

    source = models.CharField(max_length=40)
    scope = models.CharField(
        max_length=200, blank=True, help_text="Part of the source: a project or a collection."
    )
    status = models.CharField(max_length=8, choices=Status, default=Status.RUNNING)
    cursor = models.TextField(blank=True)
    pages = models.PositiveIntegerField(default=0)
    stored = models.PositiveIntegerField(default=0)
    known = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True)
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    # Renewed while a process works on the run. After its end another process may continue the run.
    leased_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["source", "-started_at"], name="import_run_newest")]
        constraints = [
            models.CheckConstraint(
                name="import_run_status_known",
                condition=Q(status__in=["running", "finished", "failed"]),
            ),
            models.UniqueConstraint(
                fields=["source", "scope"],
                name="import_run_one_at_a_time",
                condition=Q(status="running"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.scope} from {self.started_at:%Y-%m-%d %H:%M}"
