"""That somebody has read the whole record and compared its hashes."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class Verification(models.Model):
    """One run of ``verify_decisions`` to the end, and what it found."""

    created_at = models.DateTimeField(default=timezone.now, editable=False)
    decisions = models.BigIntegerField(help_text="How many were read: all that there were.")
    faults = models.PositiveIntegerField(
        default=0, help_text="Places where the record was altered."
    )
    head = models.CharField(
        max_length=64, blank=True, help_text="The last hash of the record then."
    )

    def __str__(self) -> str:
        return (
            f"{self.created_at:%Y-%m-%d %H:%M} UTC: {self.faults} faults in {self.decisions}"
            " decisions"
        )
