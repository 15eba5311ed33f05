"""Events of the record about access: who may do what, as the database has it after each change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django.contrib.auth.models import Group, Permission, User
from django.db import transaction

from moderation.models import ChainHead, RecordEvent, chain
from moderation.services import audit_log

Kind = RecordEvent.Kind
State = dict[str, Any]
# The state of an account without any event.
NOTHING: Final[State] = {
    "active": True,
    "superuser": False,
    "staff": False,
    "roles": [],
    "permissions": [],
}
DELETED: Final[State] = {"deleted": True}


def read_access(people: Iterable[int] | None = None) -> dict[str, State]:
    """Return the access of people (default: all) by primary key, without those who have none."""
    rows = User.objects.all() if people is None else User.objects.filter(pk__in=people)
    found: dict[str, State] = {}
    fields = ("pk", "is_active", "is_superuser", "is_staff")
    for pk, is_active, is_superuser, is_staff in rows.values_list(*fields):
        found[str(pk)] = {
            **NOTHING,
            "active": is_active,
            "superuser": is_superuser,
            "staff": is_staff,
        }
    groups = User.groups.through.objects.filter(user__in=rows)
    permissions = User.user_permissions.through.objects.filter(user__in=rows)
    _add(found, "roles", groups.values_list("user_id", "group__name"))
    _add(found, "permissions", permissions.values_list("user_id", "permission__codename"))
    return found


def _add(found: dict[str, State], name: str, pairs: Iterable[tuple[int, str]]) -> None:
    for pk, value in sorted(pairs):
        state = found[str(pk)]
        state[name] = [*state[name], value]


def read_roles() -> dict[str, State]:
    """Return the permissions of each group, by its name."""
    found: dict[str, State] = {
        name: {"permissions": []} for name in Group.objects.values_list("name", flat=True)
    }
    rows = Permission.objects.filter(group__isnull=False)
    pairs = rows.values_list("group__name", "content_type__app_label", "codename")
    for name, app, codename in sorted(pairs):
        found[name]["permissions"].append(f"{app}.{codename}")
    return found


def find_noted(kind: Kind, subject: str | None = None) -> dict[str, State]:
    """Return the newest noted state of each subject, or of one."""
    rows = RecordEvent.objects.filter(kind=kind)
    if subject is not None:
        newest = rows.filter(subject=subject).order_by("-sequence").first()
        return {subject: newest.payload} if newest else {}
    return dict(rows.order_by("sequence").values_list("subject", "payload"))


def record_access(person: int) -> None:
    """Record the access of a person if it differs from what the record has."""
    with transaction.atomic():
        if not _lock_sealed_head():
            return
        subject = str(person)
        now = read_access([person]).get(subject, DELETED)
        noted = find_noted(Kind.ACCESS, subject).get(subject, NOTHING)
        if now != noted:
            audit_log.record_event(Kind.ACCESS, now, subject=subject)


def record_roles() -> None:
    """Record the permissions of all groups that differ from what the record has."""
    with transaction.atomic():
        if _lock_sealed_head():
            _record_changed(Kind.ROLE, read_roles(), find_noted(Kind.ROLE))


def record_everyone() -> None:
    """Record the access of all people whose access differs from what the record has."""
    with transaction.atomic():
        if _lock_sealed_head():
            _record_changed(Kind.ACCESS, read_access(), find_noted(Kind.ACCESS))


def _lock_sealed_head() -> bool:
    """Lock the head; return False if the record is not sealed, or was emptied with the database."""
    is_sealed = ChainHead.objects.filter(version=chain.SIGNED).exists()
    return is_sealed and audit_log.lock_head().is_sealed


def _record_changed(kind: Kind, now: dict[str, State], noted: dict[str, State]) -> None:
    for subject in sorted(now | noted):
        default = NOTHING if kind == Kind.ACCESS else DELETED
        state = now.get(subject, DELETED)
        if state != noted.get(subject, default):
            audit_log.record_event(kind, state, subject=subject)


def find_faults() -> list[str]:
    """Return a message for each account and role that is not as the record has it."""
    faults = []
    noted = find_noted(Kind.ACCESS)
    now = read_access()
    names = dict(User.objects.values_list("pk", "username"))
    for subject in sorted(now | noted):
        if now.get(subject, DELETED) != noted.get(subject, NOTHING):
            name = names.get(int(subject)) if subject.isdigit() else None
            faults.append(
                f"The access of {name or f'account {subject}'} was changed without Loupe: the"
                " record has other roles or rights."
            )
    roles, noted_roles = read_roles(), find_noted(Kind.ROLE)
    faults += [
        f"The permissions of the role {name} were changed without Loupe."
        for name in sorted(roles | noted_roles)
        if roles.get(name, DELETED) != noted_roles.get(name, DELETED)
    ]
    return faults
