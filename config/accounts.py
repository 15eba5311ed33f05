"""Who somebody is and what they may: two short queries on every page, instead of three long ones."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Permission, User
from django.db.models import Q, QuerySet

from generation.models.prepared import Prepared


def _permissions(user: int) -> QuerySet[Permission, Any]:
    theirs = Permission.objects.filter(Q(user=user) | Q(group__user=user)).order_by()
    return theirs.values_list("content_type__app_label", "codename").distinct()


_USER = Prepared(lambda pk: User.objects.filter(pk=pk), pk=int)
_PERMISSIONS: Prepared[Any] = Prepared(_permissions, user=int)


class Accounts(ModelBackend):
    """Django's own, with permissions of a person and of their groups read together."""

    def get_user(self, user_id: Any) -> User | None:
        user = _USER.row(pk=int(user_id))
        return user if user is not None and self.user_can_authenticate(user) else None

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        if not user_obj.is_active or user_obj.is_anonymous or obj is not None:
            return set()
        if user_obj.is_superuser:
            return super().get_all_permissions(user_obj, obj)
        if not hasattr(user_obj, "_perm_cache"):
            user_obj._perm_cache = {f"{app}.{codename}" for app, codename in _PERMISSIONS.rows(user=user_obj.pk)}
        return set(user_obj._perm_cache)
