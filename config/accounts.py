"""Who somebody is, what they may and how they want the desk: one short query on every page, instead of five."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any
from weakref import ReferenceType, ref

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Group, Permission, User
from django.db.models import QuerySet, Subquery
from django.db.models.signals import post_migrate

from generation.models.gathering import Joined
from generation.models.prepared import Prepared
from moderation.models import Preferences


def _person(pk: int) -> QuerySet[User]:
    own = User.user_permissions.through.objects.filter(user=pk).values(keys=Joined("permission"))
    of_groups = Group.permissions.through.objects.filter(group__user=pk).values(keys=Joined("permission"))
    # Nobody asks for these, and a moment takes longer to read than a name.
    people = User.objects.filter(pk=pk).select_related("desk_preferences").defer("last_login", "date_joined")
    return people.annotate(own_permissions=Subquery(own), group_permissions=Subquery(of_groups))


_PERSON = Prepared(_person, pk=int)


def _has_perm(names: Collection[str]) -> Callable[..., bool]:
    """``User.has_perm`` of somebody whose permissions are known; Django's own looks for the backends every time."""
    return lambda perm, obj=None: obj is None and perm in names


@lru_cache(maxsize=1024)
def _session_hash(password: str) -> str:
    """What ties sessions to the stored password: another password, another hash, so none is ever out of date."""
    return User(password=password).get_session_auth_hash()


def _session_hash_of(person: ReferenceType[User]) -> Callable[[], str]:
    """``User.get_session_auth_hash``, of the password that this person has when it is called."""

    def current() -> str:
        user = person()
        assert user is not None, "whoever calls a person's method holds the person"
        return _session_hash(user.password)

    return current


class Accounts(ModelBackend):
    """Django's own, with permissions (somebody's and their groups') and preferences read together with them."""

    def get_user(self, user_id: Any) -> User | None:
        user = _PERSON.row(pk=int(user_id))
        if user is None or not self.user_can_authenticate(user):
            return None
        user.__dict__["get_session_auth_hash"] = _session_hash_of(ref(user))  # a weak one: no cycle to look for
        stored = getattr(user, "desk_preferences", None)
        (stored or Preferences(user_id=user.pk)).keep_on(user)
        if user.is_active and not user.is_superuser:
            user.__dict__["has_perm"] = _has_perm(self.get_all_permissions(user))
        return user

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        if not user_obj.is_active or user_obj.is_anonymous or obj is not None:
            return set()
        if user_obj.is_superuser:
            return super().get_all_permissions(user_obj, obj)
        if not hasattr(user_obj, "_perm_cache"):
            read: Any = user_obj if hasattr(user_obj, "own_permissions") else _PERSON.row(pk=user_obj.pk)
            joined = (read.own_permissions, read.group_permissions) if read else ()
            user_obj._perm_cache = _names({key for keys in joined if keys for key in keys.split(",")})
        return set(user_obj._perm_cache)


def _names(keys: set[str]) -> set[str]:
    """What permissions are called. Only a migration makes one, and no key is given twice: each is looked up once."""
    if not _NAMES.keys() >= keys:
        rows = Permission.objects.values_list("pk", "content_type__app_label", "codename")
        _NAMES.update({str(key): f"{app}.{codename}" for key, app, codename in rows})
    return {_NAMES[key] for key in keys if key in _NAMES}  # one that is being taken away just now is nobody's


_NAMES: dict[str, str] = {}
post_migrate.connect(lambda **_: _NAMES.clear(), weak=False)
