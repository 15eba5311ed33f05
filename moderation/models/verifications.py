"""Results of checks of the whole record."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class Verification(models.Model):
    """The result of one complete run of ``verify_decisions``."""

    created_at = models.DateTimeField(default=timezone.now, editable=False)
    decisions = models.BigIntegerField(help_text="Number of decisions read, which is all of them.")
    faults = models.PositiveIntegerField(
        default=0, help_text="Number of places where the record was altered."
    )
    head = models.CharField(
        max_length=64, blank=True, help_text="Last hash of the record at that time."
    )

    def __str__(self) -> str:
        return (
            f"{self.created_at:%Y-%m-%d %H:%M} UTC: {self.faults} faults in {self.decisions}"
            " decisions"
        )
