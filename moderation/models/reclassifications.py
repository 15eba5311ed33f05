"""Orders to run classifiers again, and what follows from new results for settled reviews."""

from __future__ import annotations

from typing import ClassVar
from uuid import uuid4

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from generation.core.db.state_machine import DueModel, DueQuerySet, due_index
from generation.models import StateMachine
from moderation.models.reviews import Review


class ReclassificationQuerySet(DueQuerySet["Reclassification"]):
    pass


class Reclassification(StateMachine, DueModel):
    """An order to run classifiers, or only the policy, on many stored images again."""

    class Status(models.TextChoices):
        RUNNING = "running", "Running"
        FINISHED = "finished", "Finished"
        CANCELLED = "cancelled", "Cancelled"

    class Scope(models.TextChoices):
        IMAGES = "images", "Chosen images"
        QUEUE = "queue", "A queue"
        FAILED = "failed", "Failed classifications"
        UNSEEN = "unseen", "Images that a classifier has not seen"
        WAITING = "waiting", "Waiting images, by a new policy"

    TRANSITIONS: ClassVar[dict[str, tuple[str, ...]]] = {
        Status.RUNNING: (Status.FINISHED, Status.CANCELLED),
        Status.FINISHED: (),
        Status.CANCELLED: (),
    }

    uuid = models.UUIDField("UUID", default=uuid4, unique=True, editable=False)
    status = models.CharField(max_length=9, choices=Status, default=Status.RUNNING)
    scope = models.CharField(max_length=7, choices=Scope)
    # Identifiers of assets, or the key of a queue.
    target = models.JSONField(default=list, blank=True)
    # Slugs. Empty: all classifiers in use.
    classifiers = models.JSONField(default=list, blank=True)
    per_minute = models.PositiveIntegerField("images per minute")
    ordered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        help_text="Empty: ordered by a command or by a change of policy.",
    )
    # The selection is read by primary key, of assets or of reviews: from after the cursor to the
    # last row that existed when it was ordered.
    cursor = models.BigIntegerField(default=0, editable=False)
    until = models.BigIntegerField(editable=False)
    expected = models.PositiveIntegerField("images expected", default=0)
    images = models.PositiveIntegerField("images so far", default=0)
    note = models.TextField(blank=True, help_text="Why it is waiting.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = ReclassificationQuerySet.as_manager()

    class Meta:
        indexes = [due_index("reclassification_due")]
        constraints = [
            models.CheckConstraint(
                name="reclassification_status_known",
                condition=Q(status__in=["running", "finished", "cancelled"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_scope_display()}, {self.created_at:%Y-%m-%d %H:%M} UTC"


class ResettlementQuerySet(DueQuerySet["Resettlement"]):
    pass


class Resettlement(DueModel):
    """A review to which the policy must be applied again, after new results or a new policy."""

    review = models.OneToOneField(Review, on_delete=models.CASCADE, related_name="resettlement")

    objects = ResettlementQuerySet.as_manager()

    class Meta:
        indexes = [due_index("resettlement_due")]

    def __str__(self) -> str:
        return f"Resettlement of {self.review_id}"


class NewFinding(models.Model):
    """A finding on an image that was approved before. The decision stays until a person acts."""

    review = models.OneToOneField(Review, on_delete=models.CASCADE, related_name="new_finding")
    reason = models.TextField()
    created_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(null=True, blank=True)
    seen_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT
    )

    class Meta:
        indexes = [
            models.Index(
                fields=["created_at"], name="new_finding_unseen", condition=Q(seen_at__isnull=True)
            )
        ]

    def __str__(self) -> str:
        return self.reason
