"""Publish the head of the chain outside of the database: to a file, an address, or by mail.

Somebody who can write to the database can replace the whole record consistently. A head that was
published before does not fit the new one. Each statement is signed with HEAD_SIGNING_KEY, if set.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from smtplib import SMTPException
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.utils import timezone

from generation import fetching, jobs
from generation.core.backoff import Backoff
from generation.models import InvalidTransitionError
from moderation.models import ChainHead, PublishedHead, RecordEvent
from moderation.services import audit_log, head_stamps, row_notes

log = logging.getLogger("loupe.record")

Status = PublishedHead.Status
Target = PublishedHead.Target

LEASE = timedelta(seconds=60)
TIMEOUT = 10.0  # seconds
ANSWER_MAX = 64 * 1024
RETRY = Backoff(base=60, cap=3600, jitter=0.25)
ERROR_MAX = 500
# The schedule is checked once an hour, a little earlier or later each time.
TOLERANCE = timedelta(minutes=10)
ALGORITHM = "hmac-sha256"
HASH_LENGTH = 64


class PublicationError(Exception):
    """A failed attempt to publish. ``str(error)`` is a message for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadStatement:
    """A head that was stated at some time, and where."""

    sequence: int
    hash: str
    at: datetime | None
    origin: str
    # Of a record that was sealed at that time.
    events: int = 0
    event_hash: str = ""


# --- Statements ---
def build_statement(head: ChainHead, at: datetime) -> dict[str, Any]:
    """Return the signed statement of a head. The sequence has no gaps, so it is the count too."""
    statement: dict[str, Any] = {
        "service": settings.PUBLIC_URL,
        "sequence": head.sequence,
        "hash": head.hash,
        "decisions": head.sequence,
        "events": head.events,
        "event_hash": head.event_hash,
        "published_at": at.isoformat(timespec="seconds"),
    }
    if settings.HEAD_SIGNING_KEY:
        statement["signature"] = sign(statement, settings.HEAD_SIGNING_KEY)
    return statement


def sign(statement: Mapping[str, Any], key: str) -> dict[str, str]:
    """Return the signature of a statement: its algorithm, the name of the key, and its value."""
    content = {name: value for name, value in statement.items() if name != "signature"}
    digest = hmac.new(key.encode(), serialize(content).encode(), hashlib.sha256).hexdigest()
    return {"algorithm": ALGORITHM, "key": name_key(key), "value": digest}


def name_key(key: str) -> str:
    """Return a short name of a key, which does not reveal it."""
    return hashlib.sha256(b"loupe head signing key " + key.encode()).hexdigest()[:8]


def serialize(statement: Mapping[str, Any]) -> str:
    """Return a statement as canonical JSON in one line: this is what is signed and published."""
    return json.dumps(statement, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def find_signature_fault(statement: Mapping[str, Any]) -> str:
    """Return why the signature of a statement is not valid; "" if it is, or if no key is set."""
    keys = [settings.HEAD_SIGNING_KEY, *settings.HEAD_SIGNING_KEY_FALLBACKS]
    given = statement.get("signature")
    if not any(keys):
        return ""
    if not isinstance(given, dict):
        return "is not signed"
    for key in filter(None, keys):
        if given.get("key") == name_key(key):
            is_valid = hmac.compare_digest(
                sign(statement, key)["value"].encode(), str(given.get("value")).encode()
            )
            return "" if is_valid else "has a wrong signature"
    return "is signed with an unknown key"


# --- Files of published heads ---
def read_file(path: Path) -> tuple[list[HeadStatement], list[str]]:
    """Return the heads of a file of statements, and a message for each invalid line.

    Raises OSError.
    """
    heads: list[HeadStatement] = []
    faults: list[str] = []
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            origin = f"line {number} of {path.name}"
            statement = _parse_line(line)
            if statement is None:
                faults.append(f"{_capitalize(origin)} is no published head.")
                continue
            if fault := find_signature_fault(statement):
                faults.append(f"{_capitalize(origin)} {fault}.")
            heads.append(_read_statement(statement, origin))
    return heads, faults


def _parse_line(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    is_head = type(found.get("sequence")) is int and isinstance(found.get("hash"), str)
    return found if is_head and len(found["hash"]) == HASH_LENGTH else None


def _read_statement(statement: Mapping[str, Any], origin: str) -> HeadStatement:
    try:
        at = datetime.fromisoformat(str(statement.get("published_at")))
    except ValueError:
        at = None
    events = statement.get("events")
    return HeadStatement(
        sequence=statement["sequence"],
        hash=statement["hash"],
        at=at,
        origin=origin,
        events=events if type(events) is int else 0,
        event_hash=str(statement.get("event_hash", "")),
    )


def _capitalize(text: str) -> str:
    return text[0].upper() + text[1:]


def iter_stored() -> Iterator[HeadStatement]:
    """Yield the heads that the database notes as stated, whether their publication succeeded."""
    rows = PublishedHead.objects.order_by("pk").values_list(
        "sequence", "hash", "created_at", "target", "statement"
    )
    seen: set[tuple[int, str, int]] = set()
    for sequence, digest, at, target, statement in rows.iterator(chunk_size=1000):
        stated = {**statement, "sequence": sequence, "hash": digest}
        origin = Target(target).label.lower() if target in Target.values else "a published head"
        found = replace(_read_statement(stated, origin), at=at)
        if (sequence, digest, found.events) not in seen:
            seen.add((sequence, digest, found.events))
            yield found


# --- Schedule ---
def list_targets() -> list[tuple[PublishedHead.Target, str]]:
    """Return where heads are published: each target with its place, as pages may show it."""
    found: list[tuple[PublishedHead.Target, str]] = []
    if settings.HEAD_PUBLISH_FILE:
        found.append((Target.FILE, str(settings.HEAD_PUBLISH_FILE)))
    if settings.HEAD_PUBLISH_URL:
        parts = urlsplit(settings.HEAD_PUBLISH_URL)
        found.append((Target.ADDRESS, f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"))
    if settings.HEAD_PUBLISH_MAIL:
        found.append((Target.MAIL, ", ".join(settings.HEAD_PUBLISH_MAIL)))
    if settings.HEAD_TIMESTAMP_URL:
        parts = urlsplit(settings.HEAD_TIMESTAMP_URL)
        found.append((Target.STAMP, f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"))
    return found


def order() -> list[PublishedHead]:
    """Store a statement of the present head for each target, to be published by the job.

    A newer head covers all earlier decisions, so it replaces an older one that is still waiting.
    Returns [] without a target or a decision.
    """
    row_notes.note_rows()
    now = timezone.now()
    with transaction.atomic():
        head = audit_log.lock_head()
        if not head.sequence:
            return []
        statement = build_statement(head, now)
        for waiting in PublishedHead.objects.filter(status=Status.WAITING):
            waiting.move_to(Status.SUPERSEDED, due_at=None)
        made = [
            PublishedHead.objects.create(
                target=target,
                place=place,
                sequence=head.sequence,
                hash=head.hash,
                statement=statement,
                created_at=now,
                due_at=now,
            )
            for target, place in list_targets()
        ]
        if made:
            payload = {
                "sequence": head.sequence,
                "hash": head.hash,
                "rows": [row.pk for row in made],
            }
            audit_log.record_event(RecordEvent.Kind.HEAD, payload)
            jobs.wake("publish_heads")
    return made


def order_if_scheduled() -> None:
    """Store statements if the last ones are older than HEAD_PUBLISH_HOURS."""
    hours: int = settings.HEAD_PUBLISH_HOURS
    if not hours or not list_targets():
        return
    last = PublishedHead.objects.order_by("-pk").values_list("created_at", flat=True).first()
    if last is None or timezone.now() - last >= timedelta(hours=hours) - TOLERANCE:
        order()


# --- The job ---
def publish_due(*, go_on: Callable[[], bool]) -> None:
    """Publish the statements that are due; a failed one is tried again later."""
    while go_on():
        claimed = PublishedHead.objects.claim(limit=1, lease=LEASE, count_attempt=True)
        if not claimed:
            return
        publish(claimed[0])


def publish(row: PublishedHead) -> str:
    """Publish one claimed statement, and store the result. Returns the error, "" for none."""
    where = {"lease": row.lease}
    try:
        SENDERS[Target(row.target)](row)
    except PublicationError as error:
        message = str(error)[:ERROR_MAX]
        log.warning("the head %s was not published (%s): %s", row.sequence, row.target, message)
        PublishedHead.objects.filter(pk=row.pk, status=Status.WAITING, **where).update(
            error=message, due_at=timezone.now() + RETRY.delay(row.attempts - 1)
        )
        return message
    with suppress(InvalidTransitionError):  # a newer head has superseded it meanwhile
        row.move_to(
            Status.PUBLISHED, where=where, due_at=None, error="", published_at=timezone.now()
        )
    return ""


def _append_to_file(row: PublishedHead) -> None:
    """Append a line, and wait until it is on the disk."""
    path = settings.HEAD_PUBLISH_FILE
    if path is None:
        raise PublicationError("HEAD_PUBLISH_FILE is no longer set.")
    line = serialize(row.statement) + "\n"
    try:
        with Path(path).open("ab+") as file:
            if _ends_within_a_line(file):  # an earlier append was interrupted
                line = "\n" + line
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise PublicationError(f"The file cannot be written: {error.strerror}.") from error


def _ends_within_a_line(file: Any) -> bool:
    if not file.seek(0, os.SEEK_END):
        return False
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) != b"\n")


def _send_to_address(row: PublishedHead) -> None:
    url = settings.HEAD_PUBLISH_URL
    if not url:
        raise PublicationError("HEAD_PUBLISH_URL is no longer set.")
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        answer = fetching.send(
            "POST",
            url,
            content=serialize(row.statement).encode(),
            headers={"content-type": "application/json"},
            # Named by the settings, so it may be in the private network.
            allow=[f"{parts.hostname}:{port}"],
            max_bytes=ANSWER_MAX,
            deadline=TIMEOUT,
        )
    except (fetching.BlockedAddressError, fetching.FetchError) as error:
        raise PublicationError(str(error)) from error
    if not 200 <= answer.status < 300:
        raise PublicationError(f"The server answered {answer.status}.")


def _send_mail(row: PublishedHead) -> None:
    if not settings.HEAD_PUBLISH_MAIL:
        raise PublicationError("HEAD_PUBLISH_MAIL is no longer set.")
    statement = row.statement
    message = EmailMessage(
        subject=f"Loupe: head of the record at decision {row.sequence}",
        body=(
            f"{statement['service']} has {row.sequence} decisions. The last one has the hash\n"
            f"{row.hash}\n\n"
            "Keep this mail: a record that was replaced later does not fit this hash. To compare\n"
            "it, put the next line into a file and run: manage.py verify_decisions --heads FILE\n\n"
            f"{serialize(statement)}\n"
        ),
        to=list(settings.HEAD_PUBLISH_MAIL),
    )
    try:
        message.send()
    except (OSError, SMTPException) as error:
        raise PublicationError(f"The mail was not accepted: {error}") from error


def _request_stamp(row: PublishedHead) -> None:
    try:
        receipt = head_stamps.request_stamp(serialize(row.statement).encode())
    except head_stamps.StampError as error:
        raise PublicationError(str(error)) from error
    PublishedHead.objects.filter(pk=row.pk, lease=row.lease).update(receipt=receipt)


SENDERS: dict[PublishedHead.Target, Callable[[PublishedHead], None]] = {
    Target.FILE: _append_to_file,
    Target.ADDRESS: _send_to_address,
    Target.MAIL: _send_mail,
    Target.STAMP: _request_stamp,
}


def find_stamp_faults() -> list[str]:
    """Return a message for each stored time stamp that does not fit its statement."""
    if settings.HEAD_TIMESTAMP_CERTIFICATES is None:
        return []
    faults = []
    for row in PublishedHead.objects.exclude(receipt="").order_by("pk").iterator():
        try:
            head_stamps.verify_stamp(serialize(row.statement).encode(), row.receipt)
        except head_stamps.StampError as error:
            faults.append(f"The time stamp of the head at decision {row.sequence}: {error}")
    return faults


def find_failing() -> Iterable[PublishedHead]:
    """Return the statements whose last attempt failed, for the operators' pages."""
    return PublishedHead.objects.failing().order_by("pk")[: len(Target)]
