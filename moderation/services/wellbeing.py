"""What people do for themselves: how they want the desk, what they want none of today, and rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from moderation.models import Exposure, Preferences, Review

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@transaction.atomic
def keep_preferences(
    *, user: User, fields: Mapping[str, Any], covers: Mapping[str, str]
) -> Preferences:
    """Change these and no others. An empty veil is none of its own: the category is shown as all
    are.
    """
    preferences = _theirs(user)
    for name, value in fields.items():
        setattr(preferences, name, value)
    kept = {**preferences.covers, **covers}
    preferences.covers = {l1: veil for l1, veil in kept.items() if veil}
    preferences.save()
    user.desk_preferences = preferences
    return preferences


@transaction.atomic
def avoid(*, user: User, l1: str, wanted: bool) -> None:
    """Give this person none of a category until midnight UTC, or give it again. What they hold of
    it goes to others.
    """
    preferences = _theirs(user)
    today = timezone.now().date().isoformat()
    avoided = {category: today for category in preferences.avoided_today() if category != l1}
    preferences.avoided = {**avoided, l1: today} if wanted else avoided
    preferences.save()
    user.desk_preferences = preferences
    if wanted:
        Review.objects.filter(claimed_by=user, top_category_l1=l1).update(
            claimed_by=None, claimed_until=None
        )


def _theirs(user: User) -> Preferences:
    Preferences.objects.get_or_create(user=user)
    return Preferences.objects.select_for_update().get(user=user)


def rest(*, user: User) -> int:
    """Give everything back that they hold, suggest no break for 60 minutes; return how many images
    it was.
    """
    later(user=user)
    return Review.objects.filter(claimed_by=user).update(claimed_by=None, claimed_until=None)


def later(*, user: User) -> None:
    """Suggest no break for the next 60 minutes."""
    Exposure.put_off(user.pk)
