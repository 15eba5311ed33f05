"""The age of log-ins, which exports, keys, roles and policies ask about."""

from __future__ import annotations

from django.contrib.sessions.backends.base import SessionBase

from generation.core.recent_login import SESSION_KEY


def age_log_in(session: SessionBase, seconds: int = 3600) -> None:
    """Make the log-in of a stored session older, by default by an hour."""
    session[SESSION_KEY] -= seconds
    session.save()
