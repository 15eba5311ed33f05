"""All routes of the resolver, and the people and API keys that request them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from generation.models import ApiKey
from tests.permissions.actors import grant

PEOPLE = (
    "anonymous",
    "no role",
    "moderator",
    "senior",
    "lead",
    "auditor",
    "user manager",
    "superuser",
)
# People whose statuses differ from those of "no role" on few pages.
OTHERS = ("operator", "integrator")
KEYS = ("generate", "classify", "read", "read:all", "owner inactive")
GROUPS = {
    "moderator": "moderator",
    "senior": "senior moderator",
    "lead": "policy lead",
    "auditor": "auditor",
    "operator": "operator",
    "integrator": "integrator",
}
USER_MANAGER_PERMISSIONS = (
    "view_user",
    "add_user",
    "change_user",
    "delete_user",
    "view_group",
    "change_group",
)


def find_routes(patterns: Any = None, prefix: str = "") -> Iterator[str]:
    """Yield the routes of the site as written in urls.py.

    Routes of model admins are left out, because they have their own table. Routes of the sandbox
    are left out, because they are not part of the desk.
    """
    for entry in patterns if patterns is not None else get_resolver().url_patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            if not route.startswith("sandbox/") and not _is_model_admin(route):
                yield from find_routes(entry.url_patterns, route)
        elif isinstance(entry, URLPattern) and not _is_model_admin(route):
            # The order of the app labels in this pattern depends on the import order.
            yield re.sub(r"\(\?P<app_label>[^)]*\)", "<app_label>", route)


def _is_model_admin(route: str) -> bool:
    models = {
        f"admin/{model._meta.app_label}/{model._meta.model_name}/" for model in admin.site._registry
    }
    return any(route.startswith(model) for model in models)


def make_people() -> dict[str, Client]:
    """Return a test client for each person, and for an account deactivated after log-in."""
    browsers = {"anonymous": Client()}
    for name in (*PEOPLE[1:], *OTHERS):
        user = User.objects.create_user(
            f"the {name}",
            password="x",
            is_superuser=name == "superuser",
            is_staff=name == "user manager",
        )
        if name in GROUPS:
            user.groups.add(Group.objects.get(name=GROUPS[name]))
        if name == "user manager":
            grant(user, *USER_MANAGER_PERMISSIONS)
        browsers[name] = Client()
        browsers[name].force_login(user)
    gone = User.objects.create_superuser("gone")
    browsers["deactivated"] = Client()
    browsers["deactivated"].force_login(gone)
    User.objects.filter(pk=gone.pk).update(is_active=False)
    return browsers


def make_keys() -> dict[str, dict[str, str]]:
    """Return the request headers for each of KEYS."""
    inactive = User.objects.create_user("inactive", is_active=False)
    found = {}
    for name in KEYS:
        is_dead = name == "owner inactive"
        scopes = ["generate", "classify", "read:all"] if is_dead else [name]
        _, text = ApiKey.make(
            name=name, scopes=scopes, owner=inactive if is_dead else None, calls_per_minute=100_000
        )
        found[name] = {"Authorization": f"Bearer {text}"}
    return found
