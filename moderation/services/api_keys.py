"""API keys that people create, replace and revoke themselves, each change with an event."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from generation.models import ApiKey
from moderation.models import TeamEvent

HOLD = "generation.hold_api_key"
KEYS_MAX = 10  # usable keys of one person


class ApiKeyError(ValueError):
    """A refused change of an API key. Its text is for the person who tried it."""


def _record(actor: User, key: ApiKey, change: str, more: str = "") -> None:
    TeamEvent.objects.create(
        kind=TeamEvent.Kind.KEY,
        actor=actor,
        person=key.owner,
        details=f"{change} “{key.name}” ({key.hint}…){more}"[:400],
    )


@transaction.atomic
def create(*, owner: User, **fields: Any) -> tuple[ApiKey, str]:
    """Return a new key of a person with its text. Raises ApiKeyError at the limit of keys."""
    User.objects.select_for_update().get(pk=owner.pk)  # one at a time
    if ApiKey.objects.usable().filter(owner=owner).count() >= KEYS_MAX:
        raise ApiKeyError(f"You have {KEYS_MAX} keys, which is the most. Revoke one first.")
    key, text = ApiKey.make(owner=owner, **fields)
    _record(owner, key, "created", f", scopes {', '.join(key.scopes)}")
    return key, text


@transaction.atomic
def rotate(*, actor: User, key: ApiKey, grace: timedelta) -> str:
    """Replace the text of a key and return the new one; the old one works for ``grace``."""
    text = key.rotate(grace)
    _record(actor, key, "replaced")
    return text


@transaction.atomic
def revoke(*, actor: User, key: ApiKey) -> bool:
    """Revoke a key for good; return whether it was not revoked before."""
    locked = ApiKey.objects.select_for_update().get(pk=key.pk)
    if locked.revoked_at is not None:
        return False
    locked.revoke()
    _record(actor, locked, "revoked")
    return True


@transaction.atomic
def revoke_all(*, actor: User, owner: User) -> int:
    """Revoke every usable key of a person for good; return their number."""
    usable = ApiKey.objects.filter(owner=owner, revoked_at__isnull=True).order_by("pk")
    return sum(revoke(actor=actor, key=key) for key in usable)


def count_orphaned(person: User) -> int:
    """Return the usable keys of a person who may no longer hold keys."""
    person = User.objects.get(pk=person.pk)  # without cached permissions
    if person.has_perm(HOLD):
        return 0
    return ApiKey.objects.usable().filter(owner=person).count()
