"""A person's preferences for the desk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.utils import timezone

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class ImageCover(models.TextChoices):
    """The cover over an image until it is revealed."""

    BLUR = "blur", "Blurred"
    GREY = "grey", "Grey"
    NONE = "none", "As it is"


# Actions of the review page and the contact sheet whose key a person may change: label, usual key.
HOTKEYS: dict[str, tuple[str, str]] = {
    "approve": ("Approve", "a"),
    "reject": ("Reject", "r"),
    "escalate": ("Escalate", "e"),
    "blur": ("Approve blurred", "d"),
    "skip": ("Skip", "s"),
    "undo": ("Undo", "u"),
    "reveal": ("Reveal or blur", "b"),
    "note": ("Note", "n"),
    "zoom": ("Actual size", "z"),
    "boxes": ("Boxes", "x"),
    "surround": ("Surround", "g"),
    "compare": ("Compare", "p"),
}
USUAL_KEYS = {action: key for action, (_, key) in HOTKEYS.items()}
# The other letters have a fixed meaning on these pages.
FREE_KEYS = "abdefgionpqrsuwxz"


class Preferences(models.Model):
    """A person's settings of the desk; one row per user who has changed any."""

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
    theme = models.CharField(max_length=5, choices=Theme, default=Theme.AUTO)
    surround = models.CharField(
        "surround of the image",
        max_length=5,
        choices=Surround,
        default=Surround.DARK,
        help_text="Press G at the desk to change it.",
    )
    hotkeys = models.BooleanField(
        "single-letter keys",
        default=True,
        help_text="Turn them off if they interfere with speech control or other tools.",
    )
    blur = models.BooleanField(
        "blurred until revealed",
        default=True,
        help_text="The image is not sent to your browser until you reveal it.",
    )
    # {L1: cover}, for categories that deviate from ``blur``.
    covers = models.JSONField(default=dict, blank=True)
    small_first = models.BooleanField(
        "small at first", default=False, help_text="A small picture, until you enlarge it."
    )
    cover_again = models.PositiveSmallIntegerField(
        "covered again after",
        choices=[(0, "Never"), (3, "3 s"), (5, "5 s"), (10, "10 s")],
        default=0,
        help_text="A revealed image is blurred again after this time.",
    )
    break_after = models.PositiveSmallIntegerField(
        "suggest a break after",
        choices=[(0, "Never"), *((images, str(images)) for images in (50, 100, 200, 400))],
        default=200,
        help_text=("Images in one hour. You can ignore the suggestion, and only you see it."),
    )
    # {action: key}, for actions with another key than the usual one.
    own_keys = models.JSONField(default=dict, blank=True)
    # {L1: date}: skip this category on this day.
    avoided = models.JSONField(default=dict, blank=True)

    class Meta:
        verbose_name_plural = "preferences"

    def __str__(self) -> str:
        return f"Preferences of {self.user}"

    @property
    def keys(self) -> dict[str, str]:
        """Return the key of each action in HOTKEYS."""
        return USUAL_KEYS | self.own_keys if self.own_keys else USUAL_KEYS

    def cover_for(self, l1: str) -> ImageCover:
        """Return the initial cover of an image of this L1 category; ``""`` means no category."""
        return ImageCover(self.covers.get(l1, ImageCover.BLUR if self.blur else ImageCover.NONE))

    @property
    def blurs_any(self) -> bool:
        """Return whether any images are blurred at first."""
        return self.blur or ImageCover.BLUR in self.covers.values()

    def avoided_today(self) -> list[str]:
        """Return the L1 categories to skip today (UTC)."""
        today = timezone.now().date().isoformat()
        return [l1 for l1, day in self.avoided.items() if day == today]

    @classmethod
    def for_user(cls, user: User | Any) -> Preferences:
        """Return a user's preferences, or unsaved defaults."""
        if not user.is_authenticated:
            return cls()
        try:
            found: Preferences = user.desk_preferences
        except cls.DoesNotExist:
            # Set only the id: with the user set, Django would cache the unsaved defaults as the
            # user's preferences.
            return cls(user_id=user.pk)
        return found
