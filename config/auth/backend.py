"""Authentication backend that reads a user, permissions and preferences in one query."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Group, Permission, User
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Concat

from generation.core.db.functions import Joined
from generation.core.db.prepared.query import PreparedQuery


def _user_with_permissions(pk: int) -> QuerySet[User]:
    permissions = Permission.objects.filter(Q(user=pk) | Q(group__user=pk)).order_by()
    name = Concat(F("content_type__app_label"), Value("."), F("codename"))
    return (
        User.objects.filter(pk=pk)
        .select_related("desk_preferences")
        .annotate(permission_names=Subquery(permissions.values(names=Joined(name))))
    )


def _user_with_factors(pk: int) -> QuerySet[User]:
    """Add what config/auth/second_factor.py needs, so that it costs no query of its own."""
    factors = Authenticator.objects.filter(user=OuterRef("pk")).exclude(
        type=Authenticator.Type.RECOVERY_CODES
    )
    groups = Group.objects.filter(user=pk).order_by()
    return _user_with_permissions(pk).annotate(
        has_second_factor=Exists(factors),
        role_names=Subquery(groups.values(names=Joined(F("name")))),
    )


_USER = PreparedQuery(_user_with_permissions, pk=int)
_USER_WITH_FACTORS = PreparedQuery(_user_with_factors, pk=int)


class Accounts(ModelBackend):
    """Django's model backend, with permissions and preferences from the query for the user."""

    def get_user(self, user_id: Any) -> User | None:
        query = _USER_WITH_FACTORS if settings.MFA_REQUIRED_ROLES else _USER
        user = query.row(pk=int(user_id))
        return user if user is not None and self.user_can_authenticate(user) else None

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        names: str | None = getattr(user_obj, "permission_names", None)
        if user_obj.is_superuser or obj is not None or not hasattr(user_obj, "permission_names"):
            return super().get_all_permissions(user_obj, obj)
        if not user_obj.is_active:
            return set()
        return set(names.split(",")) if names else set()
