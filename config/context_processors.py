"""Template context of all pages that depends on the person."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from moderation import queues
from moderation.models import Preferences


def desk(request: HttpRequest) -> dict[str, Any]:
    """Return preferences, open queues and admin access; all lazy, so unused ones cost no query."""
    # Some error pages are rendered before authentication.
    user: Any = getattr(request, "user", AnonymousUser())
    return {
        "preferences": SimpleLazyObject(lambda: Preferences.for_user(user)),
        "may_use_admin": SimpleLazyObject(
            lambda: user.is_authenticated and admin.site.has_permission(request)
        ),
        "open_queues": SimpleLazyObject(lambda: queues.list_queues(user)),
    }
