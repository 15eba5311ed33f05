"""Django's sessions in the database, read by a query whose text is kept: every page reads one."""

from __future__ import annotations

from datetime import datetime

from django.contrib.sessions.backends.db import SessionStore as DatabaseSessions
from django.contrib.sessions.models import Session
from django.utils import timezone

from generation.models.prepared import Prepared


class SessionStore(DatabaseSessions):
    def _get_session_from_db(self) -> Session | None:
        found = _VALID.row(key=self.session_key or "", now=timezone.now())
        if found is None:
            self._session_key = None
        return found


_VALID = Prepared(lambda key, now: Session.objects.filter(session_key=key, expire_date__gt=now), key=str, now=datetime)
