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


def _record(actor: User, key: ApiKey, change: str) -> None:
    TeamEvent.objects.create(
        kind=TeamEvent.Kind.KEY,
        actor=actor,
        person=key.owner,
        details=f"{change} “{key.name}” ({key.hint}…)"[:400],
    )


@transaction.atomic
def create(*, owner: User, **fields: Any) -> tuple[ApiKey, str]:
    """Return a new key of a person with its text. Raises ApiKeyError at the limit of keys."""
    User.objects.select_for_update().get(pk=owner.pk)  # one at a time
    if ApiKey.objects.usable().filter(owner=owner).count() >= KEYS_MAX:
        raise ApiKeyError(f"You have {KEYS_MAX} keys, which is the most. Revoke one first.")
    key, text = ApiKey.make(owner=owner, **fields)
    _record(owner, key, f"created, scopes {', '.join(key.scopes)},")
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
