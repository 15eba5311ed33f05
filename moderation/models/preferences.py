"""How one person wants the desk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class Preferences(models.Model):
    class Theme(models.TextChoices):
        DARK = "dark", "Dark"
        LIGHT = "light", "Light"
        AUTO = "auto", "As the system"

    class Surround(models.TextChoices):
        DARK = "dark", "Dark"
        MID = "mid", "Mid grey"
        LIGHT = "light", "Light"

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="desk_preferences")
    theme = models.CharField(max_length=5, choices=Theme, default=Theme.DARK)
    surround = models.CharField("surround of the image", max_length=5, choices=Surround, default=Surround.DARK)
    hotkeys = models.BooleanField("single-letter keys", default=True)
    blur = models.BooleanField("blur images until revealed", default=True)

    class Meta:
        verbose_name_plural = "preferences"

    def __str__(self) -> str:
        return f"Preferences of {self.user}"

    @classmethod
    def of(cls, user: User | Any) -> Preferences:
        """Theirs, or the defaults (not stored) for people who never changed any."""
        if not user.is_authenticated:
            return cls()
        return cls.objects.filter(user=user).first() or cls(user=user)
