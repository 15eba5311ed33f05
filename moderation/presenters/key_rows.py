"""Rows of lists of API keys."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils import timezone

from generation.models import ApiKey


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key with its state as a tone and a word."""

    key: ApiKey
    status: str
    word: str

    @property
    def is_usable(self) -> bool:
        return self.status == "succeeded"

    @property
    def is_replaced_recently(self) -> bool:
        until = self.key.previous_until
        return self.is_usable and until is not None and until > timezone.now()


def describe_key(key: ApiKey) -> KeyRow:
    if key.revoked_at is not None:
        return KeyRow(key, "rejected", "Revoked")
    if key.expires_at is not None and key.expires_at <= timezone.now():
        return KeyRow(key, "cancelled", "Expired")
    if key.owner is not None and not key.owner.is_active:
        return KeyRow(key, "cancelled", "Owner deactivated")
    return KeyRow(key, "succeeded", "Works")
