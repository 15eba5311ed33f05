"""Changes of the team: invitations, roles, deactivation and links for new passwords.

People who manage the team give roles to others, never to themselves. They cannot change accounts
with more rights than the roles have. Each change is a ``TeamEvent``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from moderation import roles
from moderation.models import Invitation, Review, TeamEvent
from moderation.services import access_events, browser_sessions

MANAGE = "moderation.manage_team"
OPERATOR = "operator"
SELF_REFUSED = "You cannot change your own access. Ask somebody else who manages the team."
Kind = TeamEvent.Kind


class TeamError(ValueError):
    """A refused change of the team. Its text is for the person who tried it."""


def list_roles() -> list[str]:
    """Return the roles that can be given: those of ``roles.ROLES`` whose group exists."""
    found = set(Group.objects.filter(name__in=roles.ROLES).values_list("name", flat=True))
    return [name for name in roles.ROLES if name in found]


def explain_refusal(actor: User, person: User) -> str:
    """Return why the actor may not change the access of a person; "" if they may."""
    if person.pk == actor.pk:
        return SELF_REFUSED
    if actor.is_superuser:
        return ""
    if person.is_superuser or person.is_staff or has_more_than_roles(person):
        return (
            "This account has rights beyond the roles, so only an administrator can change its"
            " access."
        )
    return ""


def has_more_than_roles(person: User) -> bool:
    held = Permission.objects.filter(Q(user=person) | Q(group__user=person))
    of_roles = Permission.objects.filter(group__name__in=roles.ROLES)
    return held.exclude(pk__in=of_roles.values("pk")).exists()


@contextmanager
def _changing(actor: User) -> Iterator[None]:
    """Run one change of the team at a time, by people who may manage it at that moment."""
    with transaction.atomic():
        list(Group.objects.select_for_update().filter(name=OPERATOR))
        _require_manager(actor)
        yield


def _require_manager(actor: User) -> None:
    current = User.objects.filter(pk=actor.pk, is_active=True).first()
    if current is None or not current.has_perm(MANAGE):
        raise TeamError("Your own access has changed. Load the page again.")


def _require_change(actor: User, person: User) -> None:
    refusal = explain_refusal(actor, person)
    if refusal:
        raise TeamError(refusal)


def is_last_operator(person: User) -> bool:
    operators = User.objects.filter(groups__name=OPERATOR, is_active=True)
    is_one = operators.filter(pk=person.pk).exists()
    return is_one and not operators.exclude(pk=person.pk).exists()


def _require_other_operator(person: User) -> None:
    if is_last_operator(person):
        raise TeamError("This is the last operator. Give somebody else that role first.")


def _record(kind: Kind, actor: User, person: User | None = None, details: str = "") -> None:
    TeamEvent.objects.create(kind=kind, actor=actor, person=person, details=details[:400])
    if person is not None:
        access_events.record_access(person.pk)  # also of changes without a signal


def name_roles(names: Collection[str]) -> str:
    return ", ".join(name for name in roles.ROLES if name in names) or "no role"


# --- Roles ---


def set_roles(*, actor: User, person: User, names: Collection[str]) -> None:
    """Set the roles of a person; other groups stay. Raises TeamError."""
    with _changing(actor):
        _require_change(actor, person)
        before = set(person.groups.filter(name__in=roles.ROLES).values_list("name", flat=True))
        after = set(names) & set(list_roles())
        if before == after:
            return
        if OPERATOR in before - after:
            _require_other_operator(person)
        person.groups.remove(*Group.objects.filter(name__in=before - after))
        person.groups.add(*Group.objects.filter(name__in=after - before))
        _record(Kind.ROLES, actor, person, f"from {name_roles(before)} to {name_roles(after)}")
        if OPERATOR in before - after:
            revoke_sent(person)


# --- Accounts ---


def deactivate(*, actor: User, person: User) -> None:
    """Close an account: sessions end, claims and links are released. Raises TeamError."""
    with _changing(actor):
        _require_change(actor, person)
        _require_other_operator(person)
        if close_account(person):
            _record(Kind.DEACTIVATED, actor, person)


def close_account(person: User) -> bool:
    """End everything by which a person can act; return False if the account was closed before."""
    if not User.objects.filter(pk=person.pk, is_active=True).update(is_active=False):
        return False
    browser_sessions.end_all(person)
    Review.objects.filter(claimed_by=person).update(claimed_by=None, claimed_until=None)
    revoke_sent(person)
    Invitation.objects.open().filter(person=person).update(revoked_at=timezone.now())
    return True


def reactivate(*, actor: User, person: User) -> None:
    """Open a closed account again, with the roles that it had. Raises TeamError."""
    with _changing(actor):
        _require_change(actor, person)
        if User.objects.filter(pk=person.pk, is_active=False).update(is_active=True):
            held = person.groups.values_list("name", flat=True)
            _record(Kind.REACTIVATED, actor, person, name_roles(held))


def end_sessions(*, actor: User, person: User) -> int:
    """End all sessions of a person; return their number. Raises TeamError."""
    with _changing(actor):
        _require_change(actor, person)
        ended = browser_sessions.end_all(person)
        _record(Kind.SESSIONS, actor, person, f"{ended} ended")
        return ended


def reset_factors(*, actor: User, person: User) -> int:
    """Delete the second factors of a person and end their sessions. Raises TeamError."""
    with _changing(actor):
        _require_change(actor, person)
        deleted = Authenticator.objects.filter(user=person)
        count: int = deleted.exclude(type=Authenticator.Type.RECOVERY_CODES).count()
        deleted.delete()
        browser_sessions.end_all(person)
        _record(Kind.FACTORS, actor, person, f"{count} removed")
        return count


# --- Invitations and links ---


def invite(*, actor: User, names: Collection[str], email: str = "") -> tuple[Invitation, str]:
    """Return a new invitation with its token. Raises TeamError."""
    with _changing(actor):
        chosen = [name for name in list_roles() if name in names]
        if not chosen:
            raise TeamError("Choose at least one role.")
        made = Invitation.make(created_by=actor, email=email, roles=chosen)
        _record(Kind.INVITED, actor, None, f"{email or 'by link'}: {name_roles(chosen)}")
        return made


def make_reset(*, actor: User, person: User) -> tuple[Invitation, str]:
    """Return a link for a new password with its token; older ones end. Raises TeamError."""
    with _changing(actor):
        _require_change(actor, person)
        if not person.is_active:
            raise TeamError("This account is deactivated. Reactivate it first.")
        Invitation.objects.open().filter(person=person).update(revoked_at=timezone.now())
        made = Invitation.make(
            kind=Invitation.Kind.PASSWORD, created_by=actor, person=person, email=person.email
        )
        _record(Kind.RESET, actor, person)
        return made


def make_first_link(*, username: str, email: str = "") -> tuple[Invitation, str] | None:
    """Return a link with which the first operator chooses a password; older ones end.

    None if somebody who manages the team can log in already. Raises TeamError.
    """
    with transaction.atomic():
        group = Group.objects.select_for_update().get(name=OPERATOR)
        managers = User.objects.filter(Q(groups=group) | Q(is_superuser=True), is_active=True)
        # A person who logs in elsewhere (single sign-on) has no password here.
        if any(person.has_usable_password() or person.last_login for person in managers):
            return None
        person = managers.filter(username=username).first()
        if person is None:
            person = User(username=username, email=email)
            person.set_unusable_password()
            try:
                person.full_clean(exclude=["password"])
            except ValidationError as error:
                raise TeamError(" ".join(error.messages)) from error
            person.save()
            person.groups.add(group)
            _record(Kind.ROLES, person, person, f"{OPERATOR}; by manage.py setup")
        Invitation.objects.open().filter(person=person).update(revoked_at=timezone.now())
        made = Invitation.make(
            kind=Invitation.Kind.PASSWORD, created_by=person, person=person, email=person.email
        )
        _record(Kind.RESET, person, person, "by manage.py setup")
        return made


def revoke(*, actor: User, invitation: Invitation) -> bool:
    """End an open invitation; return whether it was open. Raises TeamError."""
    with _changing(actor):
        rows = Invitation.objects.open().filter(pk=invitation.pk)
        if not rows.update(revoked_at=timezone.now()):
            return False
        _record(Kind.REVOKED, actor, invitation.person, invitation.email)
        return True


def revoke_sent(person: User) -> None:
    """End the open invitations that a person has sent: they would be a way back in."""
    Invitation.objects.open().filter(created_by=person).update(revoked_at=timezone.now())


def find_usable(digest: str) -> Invitation | None:
    """Return the open invitation of a token, if its sender may still make it."""
    rows = Invitation.objects.open().select_related("created_by", "person")
    found = rows.filter(digest=digest).first()
    if found is None or not found.created_by.is_active or not found.created_by.has_perm(MANAGE):
        return None
    if found.kind == Invitation.Kind.PASSWORD and (
        found.person is None
        or not found.person.is_active
        # Only make_first_link makes one for the same person.
        or (found.created_by != found.person and explain_refusal(found.created_by, found.person))
    ):
        return None
    return found


def _take(invitation: Invitation) -> None:
    """Use an invitation up. Raises TeamError if another request was first."""
    rows = Invitation.objects.open().filter(pk=invitation.pk)
    if not rows.update(accepted_at=timezone.now()):
        raise TeamError("This link was used a moment ago. Ask for another one.")


def accept(*, invitation: Invitation, person: User) -> User:
    """Store the new account of an accepted invitation, with its roles. Raises TeamError.

    ``person`` is unsaved and has a name and a password.
    """
    with transaction.atomic():
        _take(invitation)
        person.email = invitation.email
        person.save()
        chosen = [name for name in list_roles() if name in invitation.roles]
        person.groups.set(Group.objects.filter(name__in=chosen))
        Invitation.objects.filter(pk=invitation.pk).update(person=person)
        sender = invitation.created_by.get_username()
        _record(Kind.JOINED, person, person, f"{name_roles(chosen)}; invited by {sender}")
        return person


def set_password(*, invitation: Invitation, person: User, password: str) -> None:
    """Set the password of a person by a link; all their sessions end. Raises TeamError."""
    with transaction.atomic():
        _take(invitation)
        person.set_password(password)
        person.save(update_fields=["password"])
        browser_sessions.end_all(person)
        sender = invitation.created_by.get_username()
        _record(Kind.PASSWORD, person, person, f"link made by {sender}")
