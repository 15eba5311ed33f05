"""The latest check of the image storage by each host."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Self

from django.db import models


class StorageReportQuerySet(models.QuerySet["StorageReport"]):
    def seen_since(self, limit: datetime) -> Self:
        """Return reports newer than ``limit``."""
        return self.filter(seen_at__gt=limit)


class StorageReport(models.Model):
    """A host's last storage check.

    One row per host: all processes of the host write it, and its worker does so every ten seconds.
    """

    # Older reports are out of date.
    FRESH_FOR = timedelta(seconds=60)

    host = models.CharField(max_length=255, unique=True)
    storage_id = models.CharField(
        max_length=32,
        blank=True,
        help_text="Identity stored in the storage itself, equal on hosts that share it.",
    )
    free_bytes = models.BigIntegerField(
        null=True, blank=True, help_text="Empty: the storage has no limit."
    )
    error = models.TextField(blank=True)
    failed_at = models.DateTimeField(
        null=True, blank=True, help_text="Time of the first failed write or read."
    )
    seen_at = models.DateTimeField()

    objects = StorageReportQuerySet.as_manager()

    class Meta:
        ordering = ("host",)

    def __str__(self) -> str:
        return f"Image storage of {self.host}"
