"""Traces: who looked at which image outside of judging, and who exported what."""

from __future__ import annotations

from datetime import datetime
from typing import Self
from uuid import uuid4

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from generation.core.db.state_machine import one_of
from generation.models import Asset


class AccessTraceQuerySet(models.QuerySet["AccessTrace"]):
    def views(self) -> Self:
        return self.filter(one_of("kind", AccessTrace.VIEWS))

    def of_person(self, person: int, since: datetime) -> Self:
        return self.filter(person=person, created_at__gte=since)


class AccessTrace(models.Model):
    """One look at an image outside of judging, or one step of an export. Append-only."""

    class Kind(models.TextChoices):
        IMAGE = "image", "Saw the image unblurred"
        ORIGINAL = "original", "Saw a picture of the original"
        EVIDENCE = "evidence", "Read the evidence as JSON"
        EXPORT = "export", "Started an export"
        EXPORT_END = "export end", "Ended an export"
        REFUSED = "refused", "Refused by a limit"

    VIEWS = (Kind.IMAGE, Kind.ORIGINAL, Kind.EVIDENCE)

    uuid = models.UUIDField("UUID", default=uuid4, unique=True, editable=False)
    kind = models.CharField(max_length=10, choices=Kind)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    # The name at that time: accounts can be renamed.
    person_name = models.CharField(max_length=150)
    asset = models.ForeignKey(
        Asset,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="traces",
        db_index=False,
    )
    # Of the end of an export.
    start = models.OneToOneField(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="end"
    )
    details = models.JSONField(default=dict, blank=True)
    rows = models.PositiveBigIntegerField(null=True, blank=True, help_text="Exported rows.")
    sha256 = models.CharField(
        "SHA-256", max_length=64, blank=True, help_text="Of the exported file."
    )
    is_complete = models.BooleanField(
        "complete", null=True, blank=True, help_text="No: the transfer was interrupted."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = AccessTraceQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["person", "-created_at"], name="access_trace_person"),
            models.Index(
                fields=["asset", "-id"],
                name="access_trace_asset",
                condition=Q(asset__isnull=False),
            ),
            models.Index(fields=["kind", "-created_at"], name="access_trace_kind"),
        ]
        constraints = [
            models.CheckConstraint(
                name="access_trace_kind_known",
                condition=one_of(
                    "kind", ["image", "original", "evidence", "export", "export end", "refused"]
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.person_name}: {self.get_kind_display()}"
