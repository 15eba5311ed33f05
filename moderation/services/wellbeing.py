"""Personal settings and breaks: preferences, categories to skip today, rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from moderation.models import Exposure, Preferences, Review

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@transaction.atomic
def save_preferences(
    *, user: User, fields: Mapping[str, Any], covers: Mapping[str, str]
) -> Preferences:
    """Change the given preferences only.

    An empty cover removes the category's own setting: the general one applies.
    """
    preferences = _lock_preferences(user)
    for name, value in fields.items():
        setattr(preferences, name, value)
    merged = {**preferences.covers, **covers}
    preferences.covers = {l1: cover for l1, cover in merged.items() if cover}
    preferences.save()
    user.desk_preferences = preferences
    return preferences


@transaction.atomic
def set_avoided(*, user: User, l1: str, wanted: bool) -> None:
    """Skip a category for this user until midnight UTC, or stop skipping it.

    Their claims in that category are released.
    """
    preferences = _lock_preferences(user)
    today = timezone.now().date().isoformat()
    avoided = {category: today for category in preferences.avoided_today() if category != l1}
    preferences.avoided = {**avoided, l1: today} if wanted else avoided
    preferences.save()
    user.desk_preferences = preferences
    if wanted:
        Review.objects.filter(claimed_by=user, top_category_l1=l1).update(
            claimed_by=None, claimed_until=None
        )


def _lock_preferences(user: User) -> Preferences:
    Preferences.objects.get_or_create(user=user)
    return Preferences.objects.select_for_update().get(user=user)


def start_break(*, user: User) -> int:
    """Release all claims, suggest no break for 60 minutes, and return the number released."""
    postpone_break(user=user)
    return Review.objects.filter(claimed_by=user).update(claimed_by=None, claimed_until=None)


def postpone_break(*, user: User) -> None:
    """Suggest no break for the next 60 minutes."""
    Exposure.put_off(user.pk)
