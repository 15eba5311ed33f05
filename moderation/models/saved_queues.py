"""Saved queues: the filters of a queue under a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self
from uuid import uuid4

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class SavedQueueQuerySet(models.QuerySet["SavedQueue"]):
    def visible_to(self, user: User) -> Self:
        """Return the user's own saved queues and shared ones."""
        return self.filter(Q(owner=user) | Q(is_shared=True))


class SavedQueue(models.Model):
    """A named set of filters for a queue."""

    uuid = models.UUIDField("UUID", default=uuid4, unique=True, editable=False)
    name = models.CharField(max_length=60)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_queues"
    )
    is_shared = models.BooleanField("for everybody", default=False)
    base = models.CharField(max_length=30, help_text="Queue that the filters belong to.")
    query = models.CharField(
        max_length=500, help_text="Filters, as in a URL: category=alcohol&source=upload."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = SavedQueueQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "name"],
                name="saved_queue_name_once_per_owner",
                violation_error_message=(
                    "This person already has a saved queue with that name. Choose another name."
                ),
            )
        ]

    def __str__(self) -> str:
        return self.name
