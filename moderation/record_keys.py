"""Keys of the record: secrets outside of the database that sign decisions and events.

RECORD_KEY is the newest key, RECORD_KEY_FALLBACKS are earlier ones. The chain head names the key
that signs now; ``manage.py rotate_record_key`` changes it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


class RecordKeyError(ImproperlyConfigured):
    """A key that the record needs and this process does not have."""


@lru_cache(maxsize=32)
def name_key(key: str) -> str:
    """Return a short name of a key, which does not reveal it."""
    return hashlib.sha256(b"loupe record key " + key.encode()).hexdigest()[:8]


def current_key_id() -> str:
    """Return the name of RECORD_KEY; "" without one."""
    return name_key(settings.RECORD_KEY) if settings.RECORD_KEY else ""


def find_key(key_id: str) -> bytes:
    """Return the key with this name. Raises RecordKeyError."""
    for key in (settings.RECORD_KEY, *settings.RECORD_KEY_FALLBACKS):
        if key and name_key(key) == key_id:
            return str(key).encode()
    raise RecordKeyError(
        f"The record is signed with the key {key_id}, which neither RECORD_KEY nor"
        " RECORD_KEY_FALLBACKS has. Set it: without it nothing can be decided or verified."
    )


def serialize(content: Any) -> bytes:
    """Return the canonical JSON that is hashed."""
    return json.dumps(content, sort_keys=True, ensure_ascii=False).encode()


def sign(content: Mapping[str, Any], key: bytes) -> str:
    """Return the HMAC-SHA256 of a content as canonical JSON."""
    return hmac.digest(key, serialize(content), "sha256").hex()
