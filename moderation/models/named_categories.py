"""The categories named by decisions, in an indexed table: the record stores them as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models

from generation.core.db.prepared.query import insert
from generation.models import Asset

if TYPE_CHECKING:
    from moderation.models.decisions import Decision


class NamedCategory(models.Model):
    """A category named by a decision about an image, even if that decision was reversed."""

    pk = models.CompositePrimaryKey("category", "asset_id")
    category = models.CharField(max_length=60)
    asset = models.ForeignKey(
        Asset, on_delete=models.CASCADE, related_name="named_categories", db_index=False
    )

    class Meta:
        verbose_name_plural = "named categories"

    def __str__(self) -> str:
        return f"{self.category} of {self.asset}"

    @classmethod
    def store(cls, decision: Decision) -> None:
        """Store the categories of a decision."""
        for category in decision.categories:
            insert(
                NamedCategory(category=category, asset_id=decision.review.asset_id),
                ignore_conflicts=True,
            )
