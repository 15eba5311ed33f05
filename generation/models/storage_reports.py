"""What each host last found out about the image storage."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Self

from django.db import models


class StorageReportQuerySet(models.QuerySet["StorageReport"]):
    def seen_since(self, limit: datetime) -> Self:
        return self.filter(seen_at__gt=limit)


class StorageReport(models.Model):
    """One row per host. Every process of a host writes the same row; its worker does so every ten
    seconds.
    """

    # An older report says nothing about now.
    FRESH_FOR = timedelta(seconds=60)

    host = models.CharField(max_length=255, unique=True)
    storage_id = models.CharField(
        max_length=32,
        blank=True,
        help_text="The identity kept in the storage itself: equal on hosts that share it.",
    )
    free_bytes = models.BigIntegerField(
        null=True, blank=True, help_text="Empty where the storage has no limit."
    )
    error = models.TextField(blank=True)
    failed_at = models.DateTimeField(
        null=True, blank=True, help_text="Since when files cannot be written or read."
    )
    seen_at = models.DateTimeField()

    objects = StorageReportQuerySet.as_manager()

    class Meta:
        ordering = ("host",)

    def __str__(self) -> str:
        return f"Image storage of {self.host}"
