"""Counts since the installation, for programs that watch Loupe; none is about a person."""

from __future__ import annotations

from django.db import models


class RunningTotal(models.Model):
    """The count of one part of a measure since the installation. It never falls.

    Period counts are deleted after some time, and an undo takes a decision out of them. Programs
    such as Prometheus need counts that only rise.
    """

    class Measure(models.TextChoices):
        ARRIVALS = "arrivals", "Images that arrived, by source"
        DECISIONS = "decisions", "Decisions, by origin and verdict"
        REVERSALS = "reversals", "Decisions reversed, by their origin"
        OPINIONS = "opinions", "Second opinions, by origin of the decision and agreement"
        CALLS = "calls", "Calls, by service, kind and outcome; total in seconds"
        LATENCY = "latency", "Calls that were answered, by service, kind and upper bound in seconds"
        SPEND = "spend", "Cost in USD, by service"
        JOBS = "jobs", "Runs of jobs, by job and outcome; total in seconds"

    measure = models.CharField(max_length=9, choices=Measure)
    part = models.CharField(max_length=120, blank=True)
    count = models.BigIntegerField(default=0)
    total = models.FloatField(default=0.0, help_text="Sum of the values, in the measure's unit.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["measure", "part"], name="running_total_once"),
        ]

    def __str__(self) -> str:
        return f"{self.measure} {self.part}: {self.count}"
