"""Counts of rejections by properties of the requests, made in the background from the record.

They hold no figures about moderators: a requester is the source of a request.
"""

from __future__ import annotations

from django.db import models

KEY_MAX = 255


class RiskKind(models.TextChoices):
    """A property by which images are counted. ``ALL`` counts every decided image."""

    ALL = "all", "All images"
    WORD = "word", "Prompt word"
    MODEL = "model", "Model"
    LORA = "lora", "LoRA"
    REQUESTER = "requester", "Requester"
    HOUR = "hour", "Hour of the day"
    WEEKDAY = "weekday", "Day of the week"


class RiskStats(models.Model):
    """Decided and rejected images of one property that arrived on one day (UTC).

    Keys: a word, the name of a model or LoRA, ``user:`` or ``key:`` and a primary key, an hour 0 to
    23, a day of the week from 0 (Monday); "" for all images.
    """

    day = models.DateField()
    kind = models.CharField(max_length=9, choices=RiskKind)
    key = models.CharField(max_length=KEY_MAX, blank=True)
    decided = models.IntegerField(default=0)
    rejected = models.IntegerField(default=0)

    class Meta:
        verbose_name = verbose_name_plural = "risk stats"
        constraints = [
            models.UniqueConstraint(fields=["day", "kind", "key"], name="risk_stats_once")
        ]

    def __str__(self) -> str:
        return f"{self.day}, {self.kind} {self.key}: {self.rejected} of {self.decided}"


class RiskProgress(models.Model):
    """The last decision counted into risk stats, and the next report: a single row."""

    sequence = models.BigIntegerField(default=0)
    report_due_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name, verbose_name_plural = "risk progress", "progress of risk stats"

    def __str__(self) -> str:
        return f"up to decision {self.sequence}"


class RiskReport(models.Model):
    """The riskiest properties of a window, summed up from risk stats."""

    days = models.PositiveSmallIntegerField(unique=True)
    document = models.JSONField(default=dict)
    computed_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"Risk of {self.days} days"
