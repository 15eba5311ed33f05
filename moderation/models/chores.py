"""Schedule and last result of each housekeeping chore."""

from __future__ import annotations

from django.db import models

from generation.core.db.state_machine import DueModel, DueQuerySet, due_index


class ChoreQuerySet(DueQuerySet["Chore"]):
    pass


class Chore(DueModel):
    """A chore of ``moderation.services.housekeeping``. Its lease limits it to one worker."""

    name = models.CharField(max_length=40, unique=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    deleted = models.BigIntegerField(default=0, help_text="Rows or files deleted so far.")
    error = models.TextField(blank=True)

    objects = ChoreQuerySet.as_manager()

    class Meta:
        ordering = ("name",)
        indexes = [due_index("chore_due")]

    def __str__(self) -> str:
        return self.name
