"""Verify the whole record in steps: both chains, all that follows from them, and earlier heads.

An in-app verification is a row that a job continues step by step, so a killed worker costs one
step. A command runs the same steps without pause.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from generation import jobs
from generation.models import InvalidTransitionError
from moderation import append_only
from moderation.models import ChainHead, Decision, RecordEvent, Verification
from moderation.models.chain import EventIndex
from moderation.models.decisions import load_event_index
from moderation.record_keys import RecordKeyError
from moderation.services import (
    audit_log,
    chain_checks,
    event_checks,
    published_heads,
    row_notes,
    state_checks,
)
from moderation.services.chain_checks import UNREADABLE
from moderation.services.published_heads import HeadStatement

if TYPE_CHECKING:
    from django.contrib.auth.models import User

COMPARED_AT_ONCE = 500  # heads; SQLite accepts about 1,000 values in a statement
MESSAGES_MAX = 20  # stored with a verification
LEASE = timedelta(seconds=60)
Stage = Verification.Stage


def verify_record(
    heads_file: Path | None = None, *, reads_all_files: bool = False
) -> tuple[Verification, list[str]]:
    """Check the whole record; return the stored result and a message for each fault.

    ``heads_file``: a file of published heads to compare with, besides those that Loupe knows.
    ``reads_all_files``: compare every file with its hash, not only a sample. Raises OSError if the
    file of heads cannot be read.
    """
    verification, faults = _build(status=Verification.Status.FINISHED)
    verification.reads_all_files = reads_all_files
    stated, wrong = _collect_heads(verification, heads_file)
    faults += wrong
    events = load_event_index()
    is_over = False
    while not is_over:
        found, is_over = _read_step(verification, events)
        faults += found
    faults += _check_rest(verification, events) + _compare(verification, stated)
    _note(verification, faults)
    verification.finished_at = timezone.now()
    with transaction.atomic():
        verification.save()
        _record(verification)
    return verification, faults


def start(*, user: User) -> tuple[Verification, bool]:
    """Start a verification in the background; return it, and False if one was running already."""
    verification, faults = _build()
    _note(verification, faults)
    verification.started_by = user
    verification.due_at = timezone.now()
    try:
        with transaction.atomic():
            verification.save()
            jobs.wake("verify")
    except IntegrityError:
        running = Verification.objects.filter(status=Verification.Status.RUNNING).first()
        return running or verification, False
    return verification, True


def run_due(*, go_on: Callable[[], bool]) -> None:
    """Continue the running verification, step by step."""
    claimed = Verification.objects.claim(limit=1, lease=LEASE) if go_on() else []
    for verification in claimed:
        events = load_event_index()
        is_over = False
        while not is_over:
            found, is_over = _read_step(verification, events)
            _note(verification, found)
            may_go_on = go_on()
            if not _store_step(verification, is_last=not may_go_on) or not may_go_on:
                return
        _finish(verification, events)


PROGRESS = (
    *("decisions", "last_hash", "faults", "messages", "stage", "position", "reviews", "files"),
)


def _store_step(verification: Verification, *, is_last: bool) -> bool:
    """Store the progress; return False if the lease was lost.

    ``is_last``: the run ends here, so the next one may begin at once.
    """
    rows = Verification.objects.filter(pk=verification.pk, lease=verification.lease)
    stored = rows.update(
        **{name: getattr(verification, name) for name in PROGRESS},
        due_at=timezone.now() + (timedelta(0) if is_last else LEASE),
    )
    return bool(stored)


def _finish(verification: Verification, events: EventIndex) -> None:
    stated, faults = _collect_heads(verification, None)
    faults += _check_rest(verification, events) + _compare(verification, stated)
    _note(verification, faults)
    with suppress(InvalidTransitionError), transaction.atomic():  # another worker has taken it over
        verification.move_to(
            Verification.Status.FINISHED,
            where={"lease": verification.lease},
            reread=False,
            due_at=None,
            finished_at=timezone.now(),
            heads=verification.heads,
            **{name: getattr(verification, name) for name in PROGRESS},
        )
        _record(verification)


def _record(verification: Verification) -> None:
    # A head that cannot be read cannot be added to; the verification says so.
    with suppress(IndexError, *UNREADABLE, RecordKeyError), transaction.atomic():
        audit_log.record_event(
            RecordEvent.Kind.VERIFICATION, event_checks.describe_verification(verification)
        )


def _build(
    status: Verification.Status = Verification.Status.RUNNING,
) -> tuple[Verification, list[str]]:
    """Return a verification of what is there now, and a message if that cannot be read."""
    faults = []
    try:
        row_notes.note_rows()
        head = ChainHead.objects.get(pk=1)
        if not all(isinstance(value, int) for value in (head.sequence, head.events)):
            raise ValueError
    except (ChainHead.DoesNotExist, *UNREADABLE):
        head = ChainHead()
        faults.append("The head of the chain or its events were altered: they cannot be read.")
    # Rows added during the check are left for the next one.
    verification = Verification(
        status=status,
        decisions=0,
        until=head.sequence,
        head=head.hash,
        events_until=head.events,
        event_head=head.event_hash,
    )
    return verification, faults


def _read_step(verification: Verification, events: EventIndex) -> tuple[list[str], bool]:
    """Check the next part, and move on; return the faults, and whether that was the last part."""
    match verification.stage:
        case Stage.DECISIONS if verification.decisions < verification.until:
            return chain_checks.read_step(verification, events), False
        case Stage.DECISIONS:
            _enter(verification, Stage.STATES)
            return [], False
        case Stage.STATES:
            faults, has_more = state_checks.read_step(verification)
            if not has_more:
                _enter(verification, Stage.FILES)
            return faults, False
    if not verification.reads_all_files:
        return state_checks.check_images(verification, state_checks.draw_sample()), True
    keys = state_checks.list_next_assets(verification)
    faults = state_checks.check_images(verification, keys)
    verification.position = keys[-1] if keys else verification.position
    return faults, not keys


def _enter(verification: Verification, stage: Verification.Stage) -> None:
    verification.stage, verification.position = stage, 0


def _check_rest(verification: Verification, events: EventIndex) -> list[str]:
    """Check what is not read in steps: the end, the events, and the triggers."""
    faults: list[str] = []
    for check, message in (
        (partial(chain_checks.find_end_faults, verification), "The end of the record"),
        (partial(event_checks.find_faults, verification, events), "The chain of events"),
        (append_only.find_faults, "The list of triggers"),
        (published_heads.find_stamp_faults, "The list of time stamps"),
    ):
        try:
            faults += check()
        except (ChainHead.DoesNotExist, *UNREADABLE):
            faults.append(f"{message} was altered: it cannot be read.")
    return faults


def _note(verification: Verification, faults: list[str]) -> None:
    verification.faults += len(faults)
    room = MESSAGES_MAX - len(verification.messages)
    verification.messages = [*verification.messages, *faults[: max(0, room)]]


# --- Heads stated earlier ---
def _collect_heads(
    verification: Verification, heads_file: Path | None
) -> tuple[list[HeadStatement], list[str]]:
    """Return all heads to compare with, and a message for each unreadable statement."""
    stated = [*published_heads.iter_stored(), *_iter_verified(verification)]
    faults: list[str] = []
    if heads_file is not None:
        found, faults = published_heads.read_file(heads_file)
        stated += found
    own = settings.HEAD_PUBLISH_FILE
    if own is not None and (heads_file is None or heads_file.resolve() != Path(own).resolve()):
        try:
            found, wrong = published_heads.read_file(Path(own))
        except OSError:
            # Not written yet, or on another host. The operators' pages show failed publications.
            return stated, faults
        stated += found
        faults += wrong
    return stated, faults


def _iter_verified(verification: Verification) -> Iterator[HeadStatement]:
    """Yield the heads that earlier verifications found, and found to be right."""
    rows = Verification.objects.finished().exclude(pk=verification.pk)
    rows = rows.filter(until__gt=0, faults=0)
    fields = ("until", "head", "events_until", "event_head", "created_at")
    for until, head, events, event_head, at in rows.order_by("pk").values_list(*fields):
        yield HeadStatement(
            sequence=until,
            hash=head,
            events=events,
            event_hash=event_head,
            at=at,
            origin="an earlier verification",
        )


def _compare(verification: Verification, stated: Iterable[HeadStatement]) -> list[str]:
    """Return a message for each stated head that the record does not have."""
    faults: list[str] = []
    remaining = iter(stated)
    while chunk := list(itertools.islice(remaining, COMPARED_AT_ONCE)):
        rows = Decision.objects.filter(sequence__in={head.sequence for head in chunk})
        hashes = dict(rows.values_list("sequence", "hash"))
        events = RecordEvent.objects.filter(sequence__in={head.events for head in chunk})
        event_hashes = {0: "", **dict(events.values_list("sequence", "hash"))}
        for head in chunk:
            if hashes.get(head.sequence) != head.hash:
                faults.append(_describe(head, is_missing=head.sequence not in hashes))
            elif event_hashes.get(head.events) != head.event_hash:
                faults.append(_describe_events(head))
        verification.heads += len(chunk)
    return faults


def _describe(head: HeadStatement, *, is_missing: bool) -> str:
    when = f" on {_format(head.at)}" if head.at else ""
    if is_missing:
        return f"Decision {head.sequence} is missing. Its hash was stated{when} ({head.origin})."
    return (
        f"Decision {head.sequence} has another hash than was stated{when} ({head.origin}): the"
        " record up to it was replaced."
    )


def _describe_events(head: HeadStatement) -> str:
    when = f" on {_format(head.at)}" if head.at else ""
    return (
        f"Event {head.events} of the record is missing or has another hash than was stated{when}"
        f" ({head.origin})."
    )


def _format(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
