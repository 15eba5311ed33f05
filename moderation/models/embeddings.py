"""Embeddings: what an encoder sees in an image, as a vector."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from generation.core.db.state_machine import DueModel, DueQuerySet, due_index
from generation.models import Asset


class EmbeddingQuerySet(DueQuerySet["Embedding"]):
    pass


class Embedding(DueModel):
    """The vector of one asset by one version of an encoder.

    Without a vector, it is due, or has failed with an error.
    """

    asset = models.ForeignKey(
        Asset, on_delete=models.CASCADE, related_name="embeddings", db_index=False
    )
    encoder_version = models.CharField(max_length=80)
    vector = models.BinaryField(
        null=True, help_text="Length 1, as 16-bit floating-point numbers, little-endian."
    )
    error = models.TextField(blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = EmbeddingQuerySet.as_manager()

    class Meta:
        indexes = [
            due_index("embedding_due"),
            # New vectors are read in this order (moderation/search/likeness.py).
            models.Index(
                fields=["encoder_version", "finished_at"],
                name="embedding_finished",
                condition=Q(finished_at__isnull=False),
            ),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["asset", "encoder_version"], name="embedding_once_per_encoder"
            ),
            models.CheckConstraint(
                name="embedding_finished_with_its_vector",
                condition=Q(vector__isnull=True, finished_at__isnull=True)
                | Q(vector__isnull=False, finished_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.encoder_version} of asset {self.asset_id}"
