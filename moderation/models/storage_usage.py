"""Space of the stored files by day and kind, and the progress of the scan that measures it."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from generation.core.db.state_machine import DueModel, DueQuerySet, due_index


class StorageUsage(models.Model):
    """Files and bytes of one kind, measured on one day."""

    class Kind(models.TextChoices):
        RENDITIONS = "renditions", "Renditions"
        THUMBNAILS = "thumbnails", "Thumbnails"
        ORIGINALS = "originals", "Originals"
        VIEWS = "views", "Views of originals"
        BLURRED = "blurred", "Blurred images"
        DATABASE = "database", "Database"
        MODELS = "models", "Models of classifiers"

    day = models.DateField()
    kind = models.CharField(max_length=10, choices=Kind)
    files = models.PositiveBigIntegerField(default=0)
    bytes = models.PositiveBigIntegerField(default=0)
    orphans = models.PositiveBigIntegerField(
        default=0, help_text="Files without a row, older than an hour."
    )

    class Meta:
        verbose_name_plural = "storage usage"
        constraints = [
            models.UniqueConstraint(fields=["day", "kind"], name="storage_usage_once_a_day")
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} on {self.day}"


class StorageScan(DueModel):
    """The running or next scan of the storage, in steps of a folder: one row."""

    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    position = models.PositiveIntegerField(default=0, help_text="Number of folders that are read.")
    counts = models.JSONField(default=dict, help_text="Files, bytes and orphans by kind so far.")
    error = models.TextField(blank=True)

    objects = DueQuerySet["StorageScan"].as_manager()

    class Meta:
        indexes = [due_index("storage_scan_due")]

    def __str__(self) -> str:
        return f"Scan of {self.started_at:%Y-%m-%d %H:%M}"
