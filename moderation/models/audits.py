"""Audits: automatic decisions that a person checks without seeing them."""

from __future__ import annotations

from decimal import Decimal

from django.db import models
from django.db.models import Q
from django.utils import timezone

from moderation.models.decisions import Decision


class Audit(models.Model):
    """An automatic decision that was drawn for a blind check.

    The answer is the second opinion on the decision. The probability of the draw is stored: each
    answer stands for as many images as this probability says.
    """

    decision = models.OneToOneField(Decision, on_delete=models.PROTECT, related_name="audit")
    stratum = models.PositiveSmallIntegerField(
        help_text="Group of the highest confidence or score: 0 is the lowest."
    )
    # Of the draw, in whole ten thousandths.
    probability = models.DecimalField(max_digits=5, decimal_places=4)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        indexes = [models.Index(fields=["created_at"], name="audit_created")]
        constraints = [
            models.CheckConstraint(
                name="audit_probability_is_possible",
                condition=Q(probability__gt=0, probability__lte=Decimal(1)),
            ),
        ]

    def __str__(self) -> str:
        return f"Audit of decision {self.decision_id}"
