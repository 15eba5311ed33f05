"""Accounts as a directory keeps them: created, renamed, closed and opened again by SCIM.

A directory changes nobody with rights beyond the roles, and gives no role: roles follow the groups
at log-in (``single_sign_on``). Each change is a ``TeamEvent`` of the person themselves, because no
person made it.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.models import Group, User
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from moderation.models import TeamEvent
from moderation.services import team

BY_SCIM = "by the directory (SCIM)"
PROTECTED = "This account has rights beyond the roles, so the directory cannot change it."
LAST_OPERATOR = "This is the last operator. Give somebody else that role first."


class ProvisioningError(ValueError):
    """A refused change. Its text is for the administrator of the directory."""


class InvalidValueError(ProvisioningError):
    pass


class TakenNameError(ProvisioningError):
    pass


class ProtectedError(ProvisioningError):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """Attributes of a person that a directory sets; None leaves one unchanged."""

    username: str | None = None
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    is_active: bool | None = None


def create(wanted: Attributes) -> User:
    """Store a new account without a password and without a role. Raises ProvisioningError."""
    if not wanted.username:
        raise InvalidValueError("userName is missing.")
    with transaction.atomic():
        list(Group.objects.select_for_update().filter(name=team.OPERATOR))
        person = User()
        person.set_unusable_password()
        _assign(person, wanted)
        person.is_active = wanted.is_active is not False
        person.save()
        _record(TeamEvent.Kind.JOINED, person)
        return person


def change(person: User, wanted: Attributes) -> User:
    """Change an account; a closed one loses sessions, claims and links at once.

    Raises ProvisioningError.
    """
    with transaction.atomic():
        list(Group.objects.select_for_update().filter(name=team.OPERATOR))
        person = User.objects.select_for_update().get(pk=person.pk)
        if person.is_superuser or person.is_staff or team.has_more_than_roles(person):
            raise ProtectedError(PROTECTED)
        _assign(person, wanted)
        person.save()
        if wanted.is_active is False and person.is_active:
            if team.is_last_operator(person):
                raise ProtectedError(LAST_OPERATOR)
            team.close_account(person)
            _record(TeamEvent.Kind.DEACTIVATED, person)
        elif wanted.is_active is True and not person.is_active:
            User.objects.filter(pk=person.pk).update(is_active=True)
            _record(TeamEvent.Kind.REACTIVATED, person)
    person.refresh_from_db()
    return person


def _assign(person: User, wanted: Attributes) -> None:
    if wanted.username is not None and wanted.username != person.username:
        try:
            UnicodeUsernameValidator()(wanted.username)
        except ValidationError:
            raise InvalidValueError(
                "userName may have letters, digits and @ . + - _ only."
            ) from None
        if len(wanted.username) > 150:
            raise InvalidValueError("userName may have at most 150 characters.")
        others = User.objects.filter(username__iexact=wanted.username).exclude(pk=person.pk)
        if others.exists():
            raise TakenNameError("Somebody else has this userName.")
        person.username = wanted.username
    if wanted.email is not None:
        if wanted.email:
            try:
                validate_email(wanted.email)
            except ValidationError:
                raise InvalidValueError("The mail address is not valid.") from None
        person.email = wanted.email[:254]
    if wanted.first_name is not None:
        person.first_name = wanted.first_name[:150]
    if wanted.last_name is not None:
        person.last_name = wanted.last_name[:150]


def _record(kind: TeamEvent.Kind, person: User) -> None:
    TeamEvent.objects.create(kind=kind, actor=person, person=person, details=BY_SCIM)
