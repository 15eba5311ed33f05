"""Helpers that grant permissions to people."""

from __future__ import annotations

from django.contrib.auth.models import Permission, User
from django.utils import timezone

NOW = timezone.now()


def grant(user: User, *codenames: str) -> None:
    found = Permission.objects.filter(codename__in=codenames)
    assert found.count() == len(codenames)
    user.user_permissions.add(*found)
