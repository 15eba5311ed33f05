"""Counts of viewed images, in steps of five minutes. Only the person themselves ever sees them."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.db.models import F
from django.utils import timezone

from generation.core.db.prepared.query import PreparedQuery

# The categories that professional moderators name as the hard ones.
SEVERE = frozenset({"explicit", "violence", "visually-disturbing", "hate-symbols"})
STEP = timedelta(minutes=5)
WINDOW = timedelta(minutes=60)


def find_current_step() -> datetime:
    """Return the start of the current step of five minutes."""
    now = timezone.now()
    return now - (now - now.replace(hour=0, minute=0, second=0, microsecond=0)) % STEP


class Exposure(models.Model):
    """The images that one person has viewed in one step of five minutes."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="exposure"
    )
    started_at = models.DateTimeField()
    images = models.PositiveIntegerField(default=0)
    severe = models.PositiveIntegerField(default=0)
    is_put_off = models.BooleanField("no break suggested", default=False)

    class Meta:
        verbose_name_plural = "exposure"
        constraints = [
            models.UniqueConstraint(fields=["user", "started_at"], name="exposure_once_a_step")
        ]

    def __str__(self) -> str:
        # No counts: the admin site lists related rows when an account is deleted.
        return f"Five minutes from {self.started_at:%Y-%m-%d %H:%M} UTC"

    @classmethod
    def add(cls, user_id: int, *, images: int, severe: int) -> None:
        """Count images that have left a person's screen."""
        step = find_current_step()
        counts = {"images": images, "severe": severe}
        if not _ADD.update(user=user_id, started_at=step, **counts):
            _, made = cls.objects.get_or_create(user_id=user_id, started_at=step, defaults=counts)
            if not made:  # another tab created the row meanwhile
                _ADD.update(user=user_id, started_at=step, **counts)

    @classmethod
    def put_off(cls, user_id: int) -> None:
        """Suggest no break for the next 60 minutes."""
        cls.objects.update_or_create(
            user_id=user_id, started_at=find_current_step(), defaults={"is_put_off": True}
        )


_ADD = PreparedQuery(
    lambda user, started_at, images, severe: (
        Exposure.objects.filter(user_id=user, started_at=started_at),
        {"images": F("images") + images, "severe": F("severe") + severe},
    ),
    user=int,
    started_at=datetime,
    images=int,
    severe=int,
)
