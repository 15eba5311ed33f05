"""A person's exposure today, shown to that person only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Count, Max, Q, Sum
from django.utils import timezone

from moderation.models import Exposure, Preferences
from moderation.models.exposure import STEP, WINDOW

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureToday:
    """Viewed images in the last 60 minutes and today."""

    hour_images: int
    hour_severe: int
    today_images: int
    today_severe: int
    is_break_due: bool


def load_exposure(user: User) -> ExposureToday:
    """Return the user's exposure of the last 60 minutes and of today (UTC), in one query.

    The step that reaches into the 60 minutes counts whole, so the hour is never underestimated.
    """
    now = timezone.now()
    midnight, hour_ago = now.replace(hour=0, minute=0, second=0, microsecond=0), now - WINDOW - STEP
    is_recent, is_today = Q(started_at__gt=hour_ago), Q(started_at__gte=midnight)
    sums = Exposure.objects.filter(user=user, started_at__gte=min(midnight, hour_ago)).aggregate(
        hour_images=Sum("images", filter=is_recent, default=0),
        hour_severe=Sum("severe", filter=is_recent, default=0),
        today_images=Sum("images", filter=is_today, default=0),
        today_severe=Sum("severe", filter=is_today, default=0),
        put_off=Count("pk", filter=is_recent & Q(is_put_off=True)),
        wanted=Max("user__desk_preferences__break_after"),
    )
    limit = Preferences().break_after if sums["wanted"] is None else sums["wanted"]
    return ExposureToday(
        hour_images=sums["hour_images"],
        hour_severe=sums["hour_severe"],
        today_images=sums["today_images"],
        today_severe=sums["today_severe"],
        is_break_due=0 < limit <= sums["hour_images"] and not sums["put_off"],
    )
