"""Counts of decisions per day and category, made in the background from the record.

They hold no figures about people.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from django.db import models
from django.db.models import Sum

FIELDS = ("by_policy", "by_people", "policy_reversed", "people_reversed", "agreed", "disagreed")


class DailyStats(models.Model):
    """Counts of one day (UTC) and one top L1 category; ``""`` stands for no category."""

    day = models.DateField()
    l1 = models.CharField("category", max_length=30, blank=True)
    by_policy = models.IntegerField("decided by the policy", default=0)
    by_people = models.IntegerField("decided by people", default=0)
    policy_reversed = models.IntegerField("policy decisions reversed", default=0)
    people_reversed = models.IntegerField("people's decisions reversed by others", default=0)
    agreed = models.IntegerField("second opinions that agreed", default=0)
    disagreed = models.IntegerField("second opinions that disagreed", default=0)

    class Meta:
        verbose_name = verbose_name_plural = "daily stats"
        constraints = [models.UniqueConstraint(fields=["day", "l1"], name="day_figures_once")]

    def __str__(self) -> str:
        return f"{self.day}, {self.l1 or 'no category'}"

    @classmethod
    def sum_since(cls, day: date) -> dict[str, dict[str, int]]:
        """Return the sums since a day (inclusive), by category."""
        sums = {field: Sum(field) for field in FIELDS}
        rows: Iterable[dict[str, int | str]] = (
            cls.objects.filter(day__gte=day).values("l1").annotate(**sums)
        )
        return {str(row["l1"]): {field: int(row[field]) for field in FIELDS} for row in rows}
