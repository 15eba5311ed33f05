"""Encryption of second factors: secrets of apps with codes, and seeds of recovery codes.

The keys are derived from RECORD_KEY and RECORD_KEY_FALLBACKS, which are kept for good
(docs/adr/0052). Without RECORD_KEY secrets are stored as they are.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from allauth.mfa.models import Authenticator
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.db import transaction

from moderation.record_keys import RecordKeyError, current_key_id, find_key

# An encrypted secret is "aes256gcm:<name of the key>:<base64 of nonce and ciphertext>". Plain ones
# are base32 (apps) or hexadecimal (recovery codes).
SCHEME = "aes256gcm:"
INFO = b"loupe second factors"
KEY_BYTES = 32
NONCE_BYTES = 12
FIELDS = ("secret", "seed")  # members of Authenticator.data, as django-allauth names them


class UnreadableSecretError(ValueError):
    """A secret whose key is missing, or that was altered."""


@lru_cache(maxsize=32)
def _derive(key: bytes) -> AESGCM:
    return AESGCM(HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=INFO).derive(key))


def encrypt(secret: str) -> str:
    """Return a secret as it is stored."""
    name = current_key_id()
    if not name:
        return secret
    head, nonce = f"{SCHEME}{name}:", os.urandom(NONCE_BYTES)
    sealed = _derive(find_key(name)).encrypt(nonce, secret.encode(), head.encode())
    return head + b64encode(nonce + sealed).decode()


def decrypt(stored: str) -> str:
    """Return a stored secret in plain text. Raises UnreadableSecretError."""
    if not stored.startswith(SCHEME):  # from before the encryption, or from a time without key
        return stored
    name, _, body = stored.removeprefix(SCHEME).partition(":")
    try:
        sealed = b64decode(body, validate=True)
        nonce, ciphertext = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        head = f"{SCHEME}{name}:".encode()
        return _derive(find_key(name)).decrypt(nonce, ciphertext, head).decode()
    except RecordKeyError as error:
        raise UnreadableSecretError(
            f"A second factor is encrypted with the key {name}, which neither RECORD_KEY nor"
            " RECORD_KEY_FALLBACKS has."
        ) from error
    except (InvalidTag, ValueError) as error:
        raise UnreadableSecretError("A second factor was altered in the database.") from error


def _is_current(stored: str) -> bool:
    return stored.startswith(f"{SCHEME}{current_key_id()}:")


def encrypt_stored() -> None:
    """Encrypt with RECORD_KEY what is stored as plain text or under an earlier key.

    Raises UnreadableSecretError, after all others, if some cannot be read.
    """
    if not current_key_id():
        return
    reasons = [reason for pk in list(_find_stale()) if (reason := _renew(pk))]
    if reasons:
        raise UnreadableSecretError(f"{len(reasons)} second factors: {reasons[0]}")


def _find_stale() -> Iterator[int]:
    rows = Authenticator.objects.exclude(type=Authenticator.Type.WEBAUTHN)
    for pk, data in rows.values_list("pk", "data"):
        if not all(_is_current(data[name]) for name in FIELDS if name in data):
            yield pk


def _renew(pk: int) -> str:
    """Encrypt the secrets of a factor again. Return why they cannot be read, or ""."""
    with transaction.atomic():
        # Locked and read again: a recovery code may be used at this moment.
        factor = Authenticator.objects.select_for_update().filter(pk=pk).first()
        if factor is None:
            return ""
        data: dict[str, Any] = factor.data
        try:
            found = {name: decrypt(data[name]) for name in FIELDS if name in data}
        except UnreadableSecretError as error:
            return str(error)
        factor.data = {**data, **{name: encrypt(secret) for name, secret in found.items()}}
        factor.save(update_fields=["data"])
    return ""
