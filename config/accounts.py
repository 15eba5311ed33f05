"""Who somebody is and what they may: one short query on every page, instead of four long ones."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet, Subquery

from generation.models.gathering import Dotted, Joined
from generation.models.prepared import Prepared


def _with_permissions(pk: int) -> QuerySet[User]:
    name = Dotted("permission__content_type__app_label", "permission__codename")
    groups = User.groups.through.objects.filter(user=pk).values("group")
    own = User.user_permissions.through.objects.filter(user=pk).values(names=Joined(name))
    of_groups = Group.permissions.through.objects.filter(group__in=groups).values(names=Joined(name))
    return User.objects.filter(pk=pk).annotate(own_names=Subquery(own), group_names=Subquery(of_groups))


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
            read: Any = user_obj if hasattr(user_obj, "own_names") else _USER.row(pk=user_obj.pk)
            names = (read.own_names, read.group_names) if read else ()
            user_obj._perm_cache = {name for joined in names if joined for name in joined.split(",")}
        return set(user_obj._perm_cache)
