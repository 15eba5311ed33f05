"""Counts of what classifiers said, per day, category and verdict, made in the background."""

from __future__ import annotations

from django.db import models

from moderation import taxonomy

BINS = 101  # of the highest confidence of an image, 0 to 100


def open_bins() -> list[int]:
    return [0] * BINS


class ScoreStats(models.Model):
    """Images by their highest confidence in one category; ``""`` stands for all images of the day.

    The day (UTC) is the one on which the image arrived, so a reversal changes the same row.
    """

    class Verdict(models.TextChoices):
        APPROVED = "approved", "Approved"
        REJECTED = "rejected", "Rejected"
        WAITING = "waiting", "Waiting"

    day = models.DateField()
    category = models.CharField(max_length=60, choices=taxonomy.CHOICES, blank=True)
    verdict = models.CharField(max_length=8, choices=Verdict)
    bins = models.JSONField(default=open_bins)
    # Images with a finding but no number in this category; of "" all images.
    unscored = models.IntegerField(default=0)

    class Meta:
        verbose_name = verbose_name_plural = "score stats"
        constraints = [
            models.UniqueConstraint(fields=["day", "category", "verdict"], name="score_stats_once")
        ]

    def __str__(self) -> str:
        return f"{self.day}, {self.category or 'all images'}, {self.get_verdict_display()}"


class ScoreStatsProgress(models.Model):
    """The last decision counted into score stats, and the last count of waiting images."""

    sequence = models.BigIntegerField(default=0)
    waiting_at = models.DateTimeField(null=True)
    # Waiting images that were not counted, because there are too many.
    uncounted = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name, verbose_name_plural = "score stats progress", "progress of score stats"

    def __str__(self) -> str:
        return f"up to decision {self.sequence}"
