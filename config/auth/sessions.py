"""Django's database sessions with a prepared query, and with limits of idle and total time.

Every page loads a session, so the limits are in the column that this query compares anyway.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib.sessions.backends.db import SessionStore as DatabaseSessionStore
from django.contrib.sessions.models import Session
from django.utils import timezone

from generation.core.db.prepared.query import PreparedQuery
from moderation.services import browser_sessions

_VALID: PreparedQuery[Any] = PreparedQuery(
    lambda key, now: Session.objects.filter(session_key=key, expire_date__gt=now).values_list(
        "session_data", flat=True
    ),
    key=str,
    now=datetime,
)


class SessionStore(DatabaseSessionStore):
    """A database session store that reads with a prepared query."""

    def __init__(self, session_key: str | None = None) -> None:
        """Ignore a cookie that cannot be a session key: PostgreSQL would fail on NUL."""
        is_key = session_key is not None and session_key.isascii() and session_key.isalnum()
        super().__init__(session_key if is_key else None)

    def get_expiry_date(self, **kwargs: Any) -> datetime:
        """Return the end of the session: the log-in plus SESSION_HOURS, or the idle limit."""
        started = self.get(browser_sessions.STARTED_AT)
        if started is None:  # not logged in
            ends: datetime = super().get_expiry_date(**kwargs)
            return ends
        return browser_sessions.find_end(started_at=started, now=timezone.now())

    def load(self) -> dict[str, Any]:
        data = _VALID.row(key=self.session_key or "", now=timezone.now())
        if data is None:
            self._session_key = None
            return {}
        decoded: dict[str, Any] = self.decode(data)
        return decoded
