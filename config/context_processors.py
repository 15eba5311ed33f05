"""Template context of all pages that depends on the person."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from config.auth import second_factor
from moderation import queues
from moderation.models import Preferences
from moderation.presenters import navigation


def desk(request: HttpRequest) -> dict[str, Any]:
    """Return preferences, open queues, navigation and admin access.

    All are lazy, so unused ones cost no query.
    """
    # Some error pages are rendered before authentication.
    user: Any = getattr(request, "user", AnonymousUser())
    match = request.resolver_match
    view_name = match.view_name if match else ""
    return {
        "preferences": SimpleLazyObject(lambda: Preferences.for_user(user)),
        "may_use_admin": SimpleLazyObject(
            lambda: user.is_authenticated and admin.site.has_permission(request)
        ),
        "needs_second_factor": SimpleLazyObject(
            lambda: user.is_authenticated and second_factor.is_missing(request, user)
        ),
        "open_queues": SimpleLazyObject(lambda: queues.list_queues(user)),
        "main_links": SimpleLazyObject(lambda: navigation.list_links(user, view_name)),
        "menu_groups": SimpleLazyObject(lambda: navigation.list_groups(user, view_name)),
    }
