"""Django's sessions in the database, read by a query whose text is kept: every page reads one."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any

from django.contrib.sessions.backends.db import SessionStore as DatabaseSessions
from django.contrib.sessions.models import Session
from django.core import signing
from django.core.signing import BadSignature, JSONSerializer
from django.utils import timezone

from generation.models.prepared import Prepared


class SessionStore(DatabaseSessions):
    def decode(self, session_data: bytes | str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = JSONSerializer().loads(_unsigned(str(session_data), self.key_salt))
            return found
        except (BadSignature, ValueError):
            return super().decode(session_data)

    def load(self) -> dict[str, Any]:
        for data in _VALID.rows(key=self.session_key or "", now=timezone.now()):
            return self.decode(data)
        self._session_key = None
        return {}


@lru_cache(maxsize=4096)
def _unsigned(data: str, salt: str) -> bytes:
    """What was signed. It is in the database, so it hardly ever changes, and checking it takes longer than reading it.

    Raises BadSignature.
    """
    found: bytes = signing.loads(data, salt=salt, serializer=_Raw)
    return found


class _Raw:
    def dumps(self, obj: bytes) -> bytes:
        return obj

    def loads(self, data: bytes) -> bytes:
        return data


_VALID: Prepared[Any] = Prepared(
    lambda key, now: (
        Session.objects.filter(session_key=key, expire_date__gt=now).values_list("session_data", flat=True)
    ),
    key=str, now=datetime,
)  # fmt: skip
