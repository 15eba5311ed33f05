"""Figures on classifiers, computed in the background."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.utils import timezone

from generation.core.db.state_machine import DueModel, DueQuerySet, due_index

WINDOWS = (7, 30, 90)  # days


class JudgementReportQuerySet(DueQuerySet["JudgementReport"]):
    pass


class JudgementReport(DueModel):
    """The figures of one window, and how far the computation of the next ones has come."""

    # Figures that nobody has computed for this long say nothing about today.
    STALE_AFTER = timedelta(days=1)

    days = models.PositiveSmallIntegerField(unique=True)
    document = models.JSONField(default=dict)
    # Upper bounds of miss rates in percent: by "classifier version", then by L1 category.
    bounds = models.JSONField(default=dict)
    computed_at = models.DateTimeField(null=True, blank=True)
    # Counts and positions of an unfinished computation; empty between two.
    progress = models.JSONField(default=dict)

    objects = JudgementReportQuerySet.as_manager()

    class Meta:
        ordering = ("days",)
        indexes = [due_index("judgement_report_due")]

    def __str__(self) -> str:
        return f"Figures of {self.days} days"

    @property
    def is_stale(self) -> bool:
        return self.computed_at is None or timezone.now() - self.computed_at > self.STALE_AFTER
