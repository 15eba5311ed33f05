"""How much somebody has looked at, hour by hour. Nobody but they themselves is ever shown it."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import F
from django.utils import timezone

from generation.models.prepared import Prepared

# What people who look at images for a living name as the hard ones.
SEVERE = frozenset({"explicit", "violence", "visually-disturbing", "hate-symbols"})


def this_hour() -> datetime:
    return timezone.now().replace(minute=0, second=0, microsecond=0)


class Exposure(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="exposure")
    hour = models.DateTimeField()
    images = models.PositiveIntegerField(default=0)
    severe = models.PositiveIntegerField(default=0)
    is_put_off = models.BooleanField("no break suggested", default=False)

    class Meta:
        verbose_name_plural = "exposure"
        constraints = [models.UniqueConstraint(fields=["user", "hour"], name="exposure_once_an_hour")]

    def __str__(self) -> str:
        # Without the numbers: the admin site names related rows when an account is deleted.
        return f"The hour from {self.hour:%Y-%m-%d %H:%M} UTC"

    @classmethod
    def add(cls, user_id: int, *, images: int, severe: int) -> None:
        """Count images that have left somebody's screen."""
        hour = this_hour()
        counts = {"images": images, "severe": severe}
        if not _ADD.update(user=user_id, hour=hour, **counts):
            _, made = cls.objects.get_or_create(user_id=user_id, hour=hour, defaults=counts)
            if not made:  # another window of theirs was faster
                _ADD.update(user=user_id, hour=hour, **counts)

    @classmethod
    def put_off(cls, user_id: int) -> None:
        """Suggest no break any more in this hour."""
        cls.objects.update_or_create(user_id=user_id, hour=this_hour(), defaults={"is_put_off": True})


_ADD = Prepared(
    lambda user, hour, images, severe: (
        Exposure.objects.filter(user_id=user, hour=hour),
        {"images": F("images") + images, "severe": F("severe") + severe},
    ),
    user=int, hour=datetime, images=int, severe=int,
)  # fmt: skip
