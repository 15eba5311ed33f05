"""The alarm that the database is away, which no row can hold: a file remembers its notices."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from moderation.models import AlarmNotice
from moderation.services.alarms import notices

FILE: Final = "alarm-outage"  # in DATA_DIR; exists while the database is away
REPEATS_AFTER: Final = 24 * 3600.0  # seconds
MESSAGE: Final = (
    "Loupe cannot reach its database or its queue. Pages and API calls are answered with 503, and"
    " no work is done. To do: check PostgreSQL and Redis."
)


def report() -> str:
    """Send a notice at the start of an outage and once a day; return the message."""
    now = time.time()
    known = _read()
    opened, told = known or (now, 0.0)
    if now - told >= REPEATS_AFTER:
        event = AlarmNotice.Event.REPEATED if known else AlarmNotice.Event.OPENED
        if _send(event, opened=opened):
            _get_path().write_text(f"{opened} {now}")
    return MESSAGE


def report_end() -> None:
    """Send a notice that the outage has ended, if one said that it began."""
    known = _read()
    if known and _send(AlarmNotice.Event.CLOSED, opened=known[0]):
        _get_path().unlink(missing_ok=True)


def _read() -> tuple[float, float] | None:
    """Return when the outage began and when it was last reported."""
    try:
        opened, told = map(float, _get_path().read_text().split())
    except (OSError, ValueError):
        return None
    return opened, told


def _get_path() -> Path:
    return Path(settings.DATA_DIR) / FILE


def _send(event: AlarmNotice.Event, *, opened: float) -> bool:
    """Send through all channels; return whether one of them took it, or none is set."""
    is_over = event == AlarmNotice.Event.CLOSED
    content: dict[str, Any] = {
        "event": f"alarm.{event}",
        "id": "outage",
        "kind": "outage",
        "subject": "",
        "title": "The database cannot be reached",
        "message": "The database answers again. To do: nothing." if is_over else MESSAGE,
        "opened_at": datetime.fromtimestamp(opened, UTC).isoformat(timespec="seconds"),
        "closed_at": datetime.now(UTC).isoformat(timespec="seconds") if is_over else None,
        "url": settings.PUBLIC_URL,
    }
    channels = notices.list_channels()
    results = []
    for channel in channels:
        try:
            notices.deliver(channel, content)
            results.append(True)
        except notices.NoticeError as error:
            notices.log.warning("The outage was not reported (%s): %s", channel, error)
            results.append(False)
    return any(results) or not channels
