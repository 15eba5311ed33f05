"""Sessions of people: where they are logged in, and how sessions end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.db.models import QuerySet
from django.utils import timezone

from moderation.models import BrowserSession, LastActivity

if TYPE_CHECKING:
    from django.contrib.auth.models import User

USER_AGENT_MAX = 300
METHODS_MAX = 100
STARTED_AT = "started_at"  # in the session: seconds since 1970 at the log-in
# Activity is noted once in this time for each process, so an idle session may last as much longer.
NOTE_INTERVAL = timedelta(minutes=5)


def find_end(*, started_at: int, now: datetime) -> datetime:
    """Return when a session ends that began at ``started_at`` and is used now."""
    ends = datetime.fromtimestamp(started_at, UTC) + timedelta(hours=settings.SESSION_HOURS)
    if settings.SESSION_IDLE_MINUTES:
        idle = timedelta(minutes=settings.SESSION_IDLE_MINUTES) + NOTE_INTERVAL
        ends = min(ends, now + idle)
    return ends


def extend(*, session_key: str, started_at: int, now: datetime) -> None:
    """Move the idle limit of a session. Nothing to do if there is none."""
    if settings.SESSION_IDLE_MINUTES:
        Session.objects.filter(pk=session_key, expire_date__gt=now).update(
            expire_date=find_end(started_at=started_at, now=now)
        )


def note_activity(
    *,
    user_id: int,
    session_key: str,
    user_agent: str,
    ip_address: str,
    methods: str,
    now: datetime,
) -> None:
    """Store that a person used a session. Callers limit this to once in some minutes.

    ``methods`` are those of the log-in, such as ``password, app``.
    """
    BrowserSession.objects.update_or_create(
        session_id=session_key,
        defaults={"seen_at": now},
        create_defaults={
            "user_id": user_id,
            "user_agent": user_agent.replace("\0", "")[:USER_AGENT_MAX],
            "ip_address": ip_address or None,
            "methods": methods[:METHODS_MAX],
            "created_at": now,
            "seen_at": now,
        },
    )
    LastActivity.objects.update_or_create(user_id=user_id, defaults={"seen_at": now})


def list_open(user: User) -> QuerySet[BrowserSession]:
    """Return the sessions of a person that have not expired, the last used first."""
    return BrowserSession.objects.filter(
        user=user, session__expire_date__gt=timezone.now()
    ).order_by("-seen_at", "-pk")


def end(session: BrowserSession) -> None:
    """End one session at once."""
    Session.objects.filter(pk=session.session_id).delete()


def end_all(user: User, *, keep: str | None = None) -> int:
    """End all sessions of a person, apart from the session key ``keep``; return their number."""
    keys = set(BrowserSession.objects.filter(user=user).values_list("session_id", flat=True))
    # Sessions from before this table, or whose first request has not been noted.
    unknown: Any = Session.objects.filter(expire_date__gt=timezone.now(), browser__isnull=True)
    keys |= {
        session.session_key
        for session in unknown.iterator()
        if session.get_decoded().get(SESSION_KEY) == str(user.pk)
    }
    keys.discard(keep or "")
    ended = Session.objects.filter(pk__in=keys, expire_date__gt=timezone.now()).count()
    Session.objects.filter(pk__in=keys).delete()
    return ended
