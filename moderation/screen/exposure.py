"""What somebody has looked at today, for their own eyes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moderation.models import Exposure, Preferences
from moderation.models.exposure import this_hour

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    hour_images: int
    hour_severe: int
    today_images: int
    today_severe: int
    is_break_due: bool


def seen_by(user: User) -> Seen:
    """This hour and today (UTC), and whether to suggest a break. One query."""
    hour = this_hour()
    rows = Exposure.objects.filter(user=user, hour__gte=hour.replace(hour=0)).values_list(
        "hour", "images", "severe", "is_put_off", "user__desk_preferences__break_after"
    )
    images = severe = today_images = today_severe = 0
    is_due = False
    for at, all_of_them, hard, is_put_off, wanted in rows:
        today_images, today_severe = today_images + all_of_them, today_severe + hard
        if at == hour:
            images, severe = all_of_them, hard
            limit = Preferences().break_after if wanted is None else wanted
            is_due = 0 < limit <= images and not is_put_off
    return Seen(
        hour_images=images, hour_severe=severe, today_images=today_images, today_severe=today_severe,
        is_break_due=is_due,
    )  # fmt: skip
