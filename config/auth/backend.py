"""Authentication backend that reads a user, permissions and preferences in one query."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Permission, User
from django.db.models import F, Q, QuerySet, Subquery, Value
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


_USER = PreparedQuery(_user_with_permissions, pk=int)


class Accounts(ModelBackend):
    """Django's model backend, with permissions and preferences from the query for the user."""

    def get_user(self, user_id: Any) -> User | None:
        user = _USER.row(pk=int(user_id))
        return user if user is not None and self.user_can_authenticate(user) else None

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        names: str | None = getattr(user_obj, "permission_names", None)
        if user_obj.is_superuser or obj is not None or not hasattr(user_obj, "permission_names"):
            return super().get_all_permissions(user_obj, obj)
        if not user_obj.is_active:
            return set()
        return set(names.split(",")) if names else set()
