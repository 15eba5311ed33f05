"""Accounts and roles of people whom an identity provider knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import transaction

from moderation.models import Invitation, TeamEvent
from moderation.services import team
from moderation.services.team import TeamError

UNKNOWN = (
    "Your identity is known, but it has no account here. Ask somebody who manages the team for an"
    " invitation."
)
NO_ROLE = "None of your groups has a role here. Ask somebody who manages the team."
PROTECTED = (
    "The account with your mail address has rights beyond the roles, so it is not connected by mail"
    " address alone. Log in with its password."
)
# The attribute that Entra ID sends by SAML instead of too many groups.
OVERAGE_LINK = "http://schemas.microsoft.com/claims/groups.link"
OVERAGE = "The identity provider sent too many groups to list them, so your roles are not known."


class SignInError(ValueError):
    """A refused log-in by single sign-on. Its text is for the person who tried it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Claims of the identity provider about a person; ``email`` is "" unless it is verified."""

    username: str
    email: str
    groups: frozenset[str]

    @property
    def roles(self) -> set[str]:
        return {role for group, role in settings.SSO_GROUP_ROLES if group in self.groups}


def read_groups(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return the groups of a person; none if the claim is missing, as providers mean it.

    Raises SignInError if the provider says that it left them out.
    """
    name = settings.SSO["groups"]
    if name in claims.get("_claim_names", {}) or claims.get("hasgroups") or OVERAGE_LINK in claims:
        raise SignInError(OVERAGE)
    found = claims.get(name) or []
    if isinstance(found, str):
        found = [found]
    return frozenset(str(group) for group in found)


def find_or_create(identity: Identity, *, invitation: Invitation | None) -> User:
    """Return the account of an identity that comes for the first time. Raises SignInError.

    An invitation comes first, then an account with the same verified mail address, then a new
    account, if SSO_CREATE_ACCOUNTS is set and a group has a role.
    """
    if invitation is not None and invitation.kind == Invitation.Kind.ACCOUNT:
        try:
            return team.accept(invitation=invitation, person=_make_person(identity))
        except TeamError as error:
            raise SignInError(str(error)) from error
    if identity.email and (person := _find_by_mail(identity.email)):
        return person
    if not settings.SSO_CREATE_ACCOUNTS:
        raise SignInError(UNKNOWN)
    if settings.SSO_GROUP_ROLES and not identity.roles:
        raise SignInError(NO_ROLE)
    person = _make_person(identity)
    person.save()
    return person


def _find_by_mail(email: str) -> User | None:
    found = list(User.objects.filter(email__iexact=email)[:2])
    if len(found) != 1:
        return None
    if found[0].is_superuser or found[0].is_staff or team.has_more_than_roles(found[0]):
        raise SignInError(PROTECTED)
    return found[0]


def _make_person(identity: Identity) -> User:
    name, number = identity.username, 1
    while User.objects.filter(username__iexact=name).exists():
        number += 1
        name = f"{identity.username}-{number}"
    person = User(username=name, email=identity.email)
    person.set_unusable_password()
    return person


def follow_groups(person: User, identity: Identity) -> None:
    """Set those roles of a person that SSO_GROUP_ROLES names; others stay, and superusers too.

    The last operator keeps that role, which the log says.
    """
    managed = {role for _, role in settings.SSO_GROUP_ROLES}
    if not managed or person.is_superuser or not person.is_active:
        return
    with transaction.atomic():
        list(Group.objects.select_for_update().filter(name=team.OPERATOR))
        held = set(person.groups.filter(name__in=managed).values_list("name", flat=True))
        wanted = identity.roles & set(team.list_roles())
        kept = ""
        if team.OPERATOR in held - wanted and team.is_last_operator(person):
            wanted.add(team.OPERATOR)
            kept = "; stays operator, because nobody else is"
        if held == wanted:
            return
        person.groups.remove(*Group.objects.filter(name__in=held - wanted))
        person.groups.add(*Group.objects.filter(name__in=wanted - held))
        details = f"by groups: from {team.name_roles(held)} to {team.name_roles(wanted)}{kept}"
        TeamEvent.objects.create(
            kind=TeamEvent.Kind.ROLES, actor=person, person=person, details=details[:400]
        )
        if team.OPERATOR in held - wanted:
            team.revoke_sent(person)
