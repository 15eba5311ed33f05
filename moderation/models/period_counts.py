"""Counts by hour and by day, made in the background. They hold no figures about people."""

from __future__ import annotations

from datetime import datetime

from django.db import models

from generation.core.db.state_machine import DueModel, DueQuerySet, due_index


class Measure(models.TextChoices):
    """The counted events and samples. ``part`` of a count divides them further."""

    ARRIVALS = "arrivals", "Images that arrived, by source"
    DECISIONS = "decisions", "Decisions, by author and verdict"
    REVERSALS = "reversals", "Decisions reversed by another person, by their author"
    OPINIONS = "opinions", "Second opinions on people's decisions, by both verdicts"
    AUDITS = "audits", "Second opinions on the policy's decisions, by both verdicts"
    QUEUE = "queue", "Samples of waiting images, by status"
    AGE = "age", "Samples of the oldest waiting image's age in minutes"
    CALLS = "calls", "Calls, by service, kind and outcome; total in seconds"
    LATENCY = "latency", "Calls that were answered, by service and upper bound in seconds"
    SPEND = "spend", "Cost in USD, by service"
    JOBS = "jobs", "Runs of jobs, by job and outcome; total in seconds"


class PeriodCount(models.Model):
    """The count of one part of a measure in one hour or one day (UTC)."""

    class Step(models.TextChoices):
        HOUR = "hour", "Hour"
        DAY = "day", "Day"

    step = models.CharField(max_length=4, choices=Step)
    start = models.DateTimeField()
    measure = models.CharField(max_length=9, choices=Measure)
    part = models.CharField(max_length=80, blank=True)
    count = models.BigIntegerField(default=0)
    total = models.FloatField(default=0.0, help_text="Sum of the values, in the measure's unit.")
    peak = models.FloatField(default=0.0, help_text="Highest value.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["step", "start", "measure", "part"], name="period_count_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.measure} {self.part} in the {self.step} from {self.start:%Y-%m-%d %H:%M}"


class CountProgress(DueModel):
    """The position up to which one stream of rows is counted."""

    class Stream(models.TextChoices):
        ARRIVALS = "arrivals", "Images that arrived"
        DECISIONS = "decisions", "The record"
        CALLS = "calls", "Calls of services"
        QUEUE = "queue", "Samples of the queue"

    stream = models.CharField(max_length=9, choices=Stream, unique=True)
    position = models.BigIntegerField(default=0)
    # Periods before this timestamp, and after the next one, are not counted: a gap, not zero.
    began_at = models.DateTimeField(null=True, blank=True)
    counted_until = models.DateTimeField(null=True, blank=True)

    objects = DueQuerySet["CountProgress"].as_manager()

    class Meta:
        verbose_name_plural = "count progress"
        indexes = [due_index("count_progress_due")]

    def __str__(self) -> str:
        return f"{self.get_stream_display()}, counted up to {self.counted_until or 'nothing'}"

    def covers(self, start: datetime, end: datetime) -> bool:
        """Return whether at least a part of the period is counted, and its start is not missing."""
        if self.began_at is None or self.counted_until is None:
            return False
        return self.began_at < end and start < self.counted_until
