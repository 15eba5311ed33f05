"""How one person wants the desk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.utils import timezone

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class ImageCover(models.TextChoices):
    """What lies over a picture until somebody lifts it."""

    BLUR = "blur", "Blurred"
    GREY = "grey", "Grey"
    NONE = "none", "As it is"


class Preferences(models.Model):
    class Theme(models.TextChoices):
        DARK = "dark", "Dark"
        LIGHT = "light", "Light"
        AUTO = "auto", "As the system"

    class Surround(models.TextChoices):
        DARK = "dark", "Dark"
        MID = "mid", "Mid grey"
        LIGHT = "light", "Light"

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="desk_preferences"
    )
    theme = models.CharField(max_length=5, choices=Theme, default=Theme.DARK)
    surround = models.CharField(
        "surround of the image", max_length=5, choices=Surround, default=Surround.DARK
    )
    hotkeys = models.BooleanField("single-letter keys", default=True)
    blur = models.BooleanField("blur images until revealed", default=True)
    # {L1: veil}, for the categories that somebody wants otherwise than ``blur`` says.
    covers = models.JSONField(default=dict, blank=True)
    small_first = models.BooleanField("small at first", default=False)
    veil_again = models.PositiveSmallIntegerField(
        "seconds until a revealed image is veiled again; 0: never", default=0
    )
    break_after = models.PositiveSmallIntegerField(
        "images an hour until a break is suggested; 0: never", default=200
    )
    # {L1: date}: not this category for me on this day.
    avoided = models.JSONField(default=dict, blank=True)

    class Meta:
        verbose_name_plural = "preferences"

    def __str__(self) -> str:
        return f"Preferences of {self.user}"

    def cover_for(self, l1: str) -> ImageCover:
        """What lies over an image of this category at first; ``""`` is an image without one."""
        return ImageCover(self.covers.get(l1, ImageCover.BLUR if self.blur else ImageCover.NONE))

    @property
    def blurs_any(self) -> bool:
        """Whether some images are blurred at first."""
        return self.blur or ImageCover.BLUR in self.covers.values()

    def avoided_today(self) -> list[str]:
        """L1 categories that they asked not to be given today (UTC)."""
        today = timezone.now().date().isoformat()
        return [l1 for l1, day in self.avoided.items() if day == today]

    @classmethod
    def of(cls, user: User | Any) -> Preferences:
        """Return a user's preferences, or unsaved defaults for somebody who never changed any."""
        if not user.is_authenticated:
            return cls()
        try:
            found: Preferences = user.desk_preferences
        except cls.DoesNotExist:
            # The id alone: setting the user would make Django take the unsaved defaults for the
            # user's own.
            return cls(user_id=user.pk)
        return found
