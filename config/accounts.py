"""Who somebody is and what they may: one short query on every page, instead of four long ones."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Group, Permission, User
from django.db.models import Q, QuerySet, Subquery, Value
from django.db.models.functions import Concat

from generation.models.gathering import Joined
from generation.models.prepared import Prepared


def _with_permissions(pk: int) -> QuerySet[User]:
    theirs = User.user_permissions.through.objects.filter(user=pk).values("permission")
    groups = User.groups.through.objects.filter(user=pk).values("group")
    of_groups = Group.permissions.through.objects.filter(group__in=groups).values("permission")
    name = Concat("content_type__app_label", Value("."), "codename")
    rows = Permission.objects.filter(Q(pk__in=theirs) | Q(pk__in=of_groups)).order_by()
    return User.objects.filter(pk=pk).annotate(permission_names=Subquery(rows.values(all=Joined(name))))


_USER = Prepared(_with_permissions, pk=int)


class Accounts(ModelBackend):
    """Django's own, with somebody's permissions, and those of their groups, read together with them."""

    def get_user(self, user_id: Any) -> User | None:
        user = _USER.row(pk=int(user_id))
        return user if user is not None and self.user_can_authenticate(user) else None

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        if not user_obj.is_active or user_obj.is_anonymous or obj is not None:
            return set()
        if user_obj.is_superuser:
            return super().get_all_permissions(user_obj, obj)
        if not hasattr(user_obj, "_perm_cache"):
            read = user_obj if hasattr(user_obj, "permission_names") else _USER.row(pk=user_obj.pk)
            user_obj._perm_cache = set((read.permission_names or "").split(",")) - {""} if read else set()
        return set(user_obj._perm_cache)
