"""Send notices about alarms, by mail and to a webhook."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from smtplib import SMTPException
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMessage
from django.urls import reverse
from django.utils import timezone

from generation import fetching
from generation.core.backoff import Backoff
from generation.core.signatures import sign
from moderation.models import Alarm, AlarmNotice

log = logging.getLogger("loupe.alarms")

Channel = AlarmNotice.Channel
LEASE: Final = timedelta(seconds=60)
TIMEOUT: Final = 10.0  # seconds
ANSWER_MAX: Final = 64 * 1024
RETRY: Final = Backoff(base=30, cap=900, jitter=0.25)
ERROR_MAX: Final = 500


class NoticeError(Exception):
    """A failed attempt to send. ``str(error)`` is a message for people."""


def list_channels() -> list[AlarmNotice.Channel]:
    """Return the channels that the settings name."""
    found = []
    if settings.ALARM_MAIL:
        found.append(Channel.MAIL)
    if settings.ALARM_WEBHOOK_URL:
        found.append(Channel.WEBHOOK)
    return found


def order(alarm: Alarm, event: AlarmNotice.Event) -> None:
    """Store a notice for each channel; a job sends them. The log has the event anyway."""
    log.warning("Alarm %s: %s. %s", event, alarm.title, alarm.message)
    now = timezone.now()
    AlarmNotice.objects.bulk_create(
        AlarmNotice(alarm=alarm, channel=channel, event=event, created_at=now, due_at=now)
        for channel in list_channels()
    )


def send_due(*, go_on: Callable[[], bool]) -> None:
    """Send the notices that are due, in their order; a failed one is tried again."""
    while go_on():
        claimed = AlarmNotice.objects.claim(limit=1, lease=LEASE, count_attempt=True)
        if not claimed:
            return
        notice = AlarmNotice.objects.select_related("alarm").get(pk=claimed[0].pk)
        held = AlarmNotice.objects.filter(pk=notice.pk, lease=notice.lease)
        error = send(notice)
        if error:
            wait = RETRY.delay(notice.attempts - 1)
            held.update(error=error, due_at=timezone.now() + wait)
        else:
            held.update(error="", due_at=None, lease=None, sent_at=timezone.now())


def send(notice: AlarmNotice) -> str:
    """Send one notice; return the error, "" for none."""
    try:
        deliver(Channel(notice.channel), describe(notice))
    except NoticeError as error:
        log.warning("The notice of an alarm was not sent (%s): %s", notice.channel, error)
        return str(error)[:ERROR_MAX]
    return ""


def describe(notice: AlarmNotice) -> dict[str, Any]:
    """Return a notice as the webhook gets it."""
    alarm = notice.alarm
    return {
        "event": f"alarm.{notice.event}",
        "id": f"{alarm.pk}",
        "kind": alarm.kind,
        "subject": alarm.subject,
        "title": alarm.title,
        "message": alarm.message,
        "opened_at": _format(alarm.opened_at),
        "closed_at": _format(alarm.closed_at),
        "url": settings.PUBLIC_URL + reverse("moderation:operations"),
    }


def _format(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at else None


def deliver(channel: AlarmNotice.Channel, content: dict[str, Any]) -> None:
    """Send the content through one channel. Uses no database. Raises NoticeError."""
    if channel == Channel.MAIL:
        _send_mail(content)
    else:
        _call_webhook(content)


def _send_mail(content: dict[str, Any]) -> None:
    if not settings.ALARM_MAIL:
        raise NoticeError("ALARM_MAIL is no longer set.")
    word = AlarmNotice.Event(content["event"].removeprefix("alarm.")).label
    lines = [f"{content['title']}.", content["message"], f"Since: {content['opened_at']}"]
    if content["closed_at"]:
        lines.append(f"Ended: {content['closed_at']}")
    lines.append(content["url"])
    message = EmailMessage(
        # A line break would end the header.
        subject=" ".join(f"Loupe: {word.lower()}: {content['title']}".split()),
        body="\n\n".join(lines) + "\n",
        to=list(settings.ALARM_MAIL),
    )
    try:
        message.send()
    except (OSError, SMTPException) as error:
        raise NoticeError(f"The mail was not accepted: {error}") from error


def _call_webhook(content: dict[str, Any]) -> None:
    url = settings.ALARM_WEBHOOK_URL
    if not url:
        raise NoticeError("ALARM_WEBHOOK_URL is no longer set.")
    body = json.dumps(content, ensure_ascii=False).encode()
    headers = {"content-type": "application/json"}
    if settings.ALARM_WEBHOOK_SECRET:
        signature = sign(settings.ALARM_WEBHOOK_SECRET, body, at=int(time.time()))
        headers["X-Loupe-Signature"] = signature
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        answer = fetching.send(
            "POST",
            url,
            content=body,
            headers=headers,
            # Named by the settings, so it may be in the private network.
            allow=[f"{parts.hostname}:{port}"],
            max_bytes=ANSWER_MAX,
            deadline=TIMEOUT,
        )
    except (fetching.BlockedAddressError, fetching.FetchError) as error:
        raise NoticeError(str(error)) from error
    if not 200 <= answer.status < 300:
        raise NoticeError(f"The server answered {answer.status}.")
