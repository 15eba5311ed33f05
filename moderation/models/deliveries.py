"""Events owed to programs: Novita's ASYNC_TASK_RESULT, sent once all images are decided."""

from __future__ import annotations

from typing import ClassVar
from uuid import uuid4

from django.db import models
from django.db.models import Q
from django.utils import timezone

from generation.core.db.state_machine import DueModel, DueQuerySet, due_index
from generation.models import GenerationRequest, StateMachine


class Delivery(StateMachine, DueModel):
    """An event about one request. Its body is built on sending and describes the state then."""

    class Kind(models.TextChoices):
        FINISHED = "finished", "All images decided"
        WITHDRAWN = "withdrawn", "An image was withdrawn"

    class Status(models.TextChoices):
        WAITING = "waiting", "Waiting"
        DELIVERED = "delivered", "Delivered"
        FAILED = "failed", "Failed"

    TRANSITIONS: ClassVar[dict[str, tuple[str, ...]]] = {
        Status.WAITING: (Status.DELIVERED, Status.FAILED),
        Status.DELIVERED: (),
        Status.FAILED: (Status.WAITING,),  # by a person
    }

    uuid = models.UUIDField("UUID", default=uuid4, unique=True, editable=False)
    request = models.ForeignKey(
        GenerationRequest, on_delete=models.CASCADE, related_name="deliveries"
    )
    kind = models.CharField(max_length=9, choices=Kind)
    # Counts the events of a request, which gets another one after reversals and new decisions.
    round = models.PositiveSmallIntegerField(default=1)
    status = models.CharField(max_length=9, choices=Status, default=Status.WAITING)
    answer = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="HTTP status of the last attempt."
    )
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = DueQuerySet["Delivery"].as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
        permissions = [
            ("view_operations", "Can see workers, storage, housekeeping and webhook deliveries")
        ]
        indexes = [due_index("delivery_due")]
        constraints = [
            models.UniqueConstraint(
                fields=["request", "kind", "round"], name="delivery_once_per_round"
            ),
            models.CheckConstraint(
                name="delivery_status_known",
                condition=Q(status__in=["waiting", "delivered", "failed"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.get_status_display()}"
