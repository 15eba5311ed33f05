"""Verify the whole record in steps, and compare it with the heads that were stated earlier.

An in-app verification is a row that a job continues step by step, so a killed worker costs one
step. A command runs the same steps without pause.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from generation import jobs
from generation.models import InvalidTransitionError
from moderation.models import ChainHead, Decision, Verification
from moderation.models.decisions import verify_chain
from moderation.services import published_heads
from moderation.services.published_heads import HeadStatement

if TYPE_CHECKING:
    from django.contrib.auth.models import User

STEP = 5_000  # decisions: half a second
COMPARED_AT_ONCE = 500  # heads; SQLite accepts about 1,000 values in a statement
MESSAGES_MAX = 20  # stored with a verification
LEASE = timedelta(seconds=60)
# Raised while a row is read whose values are none that Loupe writes.
UNREADABLE = (ValueError, TypeError, AttributeError, OverflowError, InvalidOperation)
END = "The end of the record is missing or was altered: it does not match the head of the chain."


def verify_record(heads_file: Path | None = None) -> tuple[Verification, list[str]]:
    """Check the whole record; return the stored result and a message for each fault.

    ``heads_file``: a file of published heads to compare with, besides those that Loupe knows.
    Raises OSError if it cannot be read.
    """
    verification = _build(status=Verification.Status.FINISHED)
    stated, faults = _collect_heads(verification, heads_file)
    while _has_more(verification):
        faults += _read_step(verification)
    faults += _check_end(verification) + _compare(verification, stated)
    _note(verification, faults)
    verification.finished_at = timezone.now()
    verification.save()
    return verification, faults


def start(*, user: User) -> tuple[Verification, bool]:
    """Start a verification in the background; return it, and False if one was running already."""
    verification = _build()
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
        while _has_more(verification):
            _note(verification, _read_step(verification))
            may_go_on = go_on()
            if not _store_step(verification, is_last=not may_go_on) or not may_go_on:
                return
        _finish(verification)


def _store_step(verification: Verification, *, is_last: bool) -> bool:
    """Store the progress; return False if the lease was lost.

    ``is_last``: the run ends here, so the next one may begin at once.
    """
    rows = Verification.objects.filter(pk=verification.pk, lease=verification.lease)
    stored = rows.update(
        decisions=verification.decisions,
        last_hash=verification.last_hash,
        faults=verification.faults,
        messages=verification.messages,
        due_at=timezone.now() + (timedelta(0) if is_last else LEASE),
    )
    return bool(stored)


def _finish(verification: Verification) -> None:
    stated, faults = _collect_heads(verification, None)
    faults += _check_end(verification) + _compare(verification, stated)
    _note(verification, faults)
    with suppress(InvalidTransitionError):  # another worker has taken it over
        verification.move_to(
            Verification.Status.FINISHED,
            where={"lease": verification.lease},
            reread=False,
            due_at=None,
            finished_at=timezone.now(),
            decisions=verification.decisions,
            faults=verification.faults,
            messages=verification.messages,
            heads=verification.heads,
        )


def _build(status: Verification.Status = Verification.Status.RUNNING) -> Verification:
    head = ChainHead.objects.get(pk=1)
    # Decisions added during the check are left for the next one.
    return Verification(status=status, decisions=0, until=head.sequence, head=head.hash)


def _has_more(verification: Verification) -> bool:
    return verification.decisions < verification.until


def _note(verification: Verification, faults: list[str]) -> None:
    verification.faults += len(faults)
    room = MESSAGES_MAX - len(verification.messages)
    verification.messages = [*verification.messages, *faults[: max(0, room)]]


# --- The chain ---
def _read_step(verification: Verification) -> list[str]:
    """Check the next decisions, and move on to the last of them."""
    after, previous = verification.decisions, verification.last_hash
    rows = Decision.objects.filter(sequence__gt=after, sequence__lte=verification.until)
    step = rows.order_by("sequence")[:STEP]
    try:
        found = list(step)
        faults = verify_chain(found, after=after, previous=previous)
    except UNREADABLE:
        found, faults = _read_one_by_one(list(step.values_list("sequence", flat=True)), previous)
    if not found:  # the end is missing
        verification.decisions = verification.until
        verification.last_hash = ""
    else:
        verification.decisions = found[-1].sequence
        verification.last_hash = found[-1].hash
    return faults


def _read_one_by_one(sequences: list[int], previous: str) -> tuple[list[Decision], list[str]]:
    """Check decisions of which at least one has values that cannot be read."""
    found: list[Decision] = []
    faults: list[str] = []
    for sequence in sequences:
        try:
            row = Decision.objects.get(sequence=sequence)
            faults += verify_chain([row], after=sequence - 1, previous=previous)
        except UNREADABLE:
            faults.append(f"Decision {sequence} was altered: it cannot be read.")
            row = Decision.objects.only("sequence", "hash").get(sequence=sequence)
        found.append(row)
        previous = row.hash
    return found, faults


def _check_end(verification: Verification) -> list[str]:
    """Check that the record ends where the head of the chain says."""
    faults = []
    if verification.last_hash != verification.head:
        faults.append(END)
    with transaction.atomic():
        head = ChainHead.objects.select_for_update().get(pk=1)
        last = Decision.objects.aggregate(last=Max("sequence"))["last"] or 0
    if last > head.sequence:
        faults.append(
            f"The record goes on to decision {last}, but the head of the chain is decision"
            f" {head.sequence}."
        )
    return faults


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
    for until, head, at in rows.order_by("pk").values_list("until", "head", "created_at"):
        yield HeadStatement(sequence=until, hash=head, at=at, origin="an earlier verification")


def _compare(verification: Verification, stated: Iterable[HeadStatement]) -> list[str]:
    """Return a message for each stated head that the record does not have."""
    faults: list[str] = []
    remaining = iter(stated)
    while chunk := list(itertools.islice(remaining, COMPARED_AT_ONCE)):
        rows = Decision.objects.filter(sequence__in={head.sequence for head in chunk})
        hashes = dict(rows.values_list("sequence", "hash"))
        for head in chunk:
            if hashes.get(head.sequence) != head.hash:
                faults.append(_describe(head, is_missing=head.sequence not in hashes))
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


def _format(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
