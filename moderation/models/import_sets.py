"""Import sets: files that a person uploaded together, with the outcome of each file."""

from __future__ import annotations

from typing import Self
from uuid import UUID, uuid4

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from generation.core.urls import build_url
from generation.models import Asset


class ImportSet(models.Model):
    """Files uploaded together under a name. Its waiting images are a queue."""

    uuid = models.UUIDField("UUID", default=uuid4, unique=True, editable=False)
    name = models.CharField(max_length=80)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="import_sets"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # Counted in the transaction that adds the file's row.
    stored = models.PositiveIntegerField(default=0)
    known = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name = "import set"

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return build_url("moderation:import-set-detail", self.uuid)

    @property
    def total(self) -> int:
        return self.stored + self.known + self.refused


class ImportedFileQuerySet(models.QuerySet["ImportedFile"]):
    def with_asset_in(self, import_set: UUID) -> Self:
        return self.filter(import_set__uuid=import_set, asset__isnull=False)


class ImportedFile(models.Model):
    """One file of an import set. The same content counts once in a set."""

    class Outcome(models.TextChoices):
        STORED = "stored", "Stored"
        KNOWN = "known", "Already there"
        REFUSED = "refused", "Refused"

    import_set = models.ForeignKey(
        ImportSet, on_delete=models.CASCADE, related_name="files", db_index=False
    )
    digest = models.CharField(
        max_length=64, help_text="SHA-256 of the content, or of the name if it was not read."
    )
    name = models.CharField(max_length=255, help_text="For display only; never used as a path.")
    outcome = models.CharField(max_length=7, choices=Outcome)
    reason = models.CharField(max_length=300, blank=True)
    asset = models.ForeignKey(
        Asset,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="imported_files",
        db_index=False,
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ImportedFileQuerySet.as_manager()

    class Meta:
        verbose_name = "imported file"
        indexes = [
            models.Index(fields=["import_set", "outcome", "id"], name="imported_file_outcome"),
            models.Index(
                fields=["asset"], name="imported_file_asset", condition=Q(asset__isnull=False)
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["import_set", "digest"], name="imported_file_once_per_set"
            ),
            models.CheckConstraint(
                name="imported_file_outcome_known",
                condition=Q(outcome__in=["stored", "known", "refused"]),
            ),
            models.CheckConstraint(
                name="imported_file_asset_or_reason",
                condition=Q(asset__isnull=False) | ~Q(reason=""),
            ),
        ]

    def __str__(self) -> str:
        return self.name
