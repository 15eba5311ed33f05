"""Checks of the chain of decisions: hashes, order and end."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import DecimalException
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import DatabaseError, transaction

from moderation.models import ChainHead, Decision, Verification, chain
from moderation.models.chain import ChainCheck, EventIndex
from moderation.models.decisions import load_event_index
from moderation.record_keys import RecordKeyError

STEP = 5_000  # decisions: half a second
# Raised while a row is read whose values are none that Loupe writes.
UNREADABLE: Final = (
    *(ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError),
    *(DecimalException, DatabaseError, ValidationError),
)
END = "The end of the record is missing or was altered: it does not match the head of the chain."


def iter_faults() -> Iterator[str]:
    """Check all decisions up to the present head of the chain."""
    check = Verification(decisions=0, until=ChainHead.objects.get(pk=1).sequence)
    events = load_event_index()
    while check.decisions < check.until:
        yield from read_step(check, events)


def read_step(verification: Verification, events: EventIndex) -> list[str]:
    """Check the next decisions, and move on to the last of them."""
    check = ChainCheck(after=verification.decisions, previous=verification.last_hash, events=events)
    count = 0
    for sequence, row in _read_rows(verification.decisions, verification.until):
        count += 1
        try:
            if row is None:
                raise ValueError
            check.read(row)
        except RecordKeyError as error:
            if str(error) not in check.faults:
                check.faults.append(str(error))
        except UNREADABLE:
            check.faults.append(f"Decision {sequence} was altered: it cannot be read.")
            check.after, check.previous = _read_link(sequence)
    if count:
        verification.decisions, verification.last_hash = check.after, str(check.previous)
    else:  # the end is missing
        verification.decisions, verification.last_hash = verification.until, ""
    return check.faults


def _read_rows(after: int, until: int) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield the next decisions with their sequence; None for one that cannot be read."""
    rows = Decision.objects.filter(sequence__gt=after, sequence__lte=until).order_by("sequence")
    covered = rows.values(*chain.COVERED)
    try:
        found = list(covered[:STEP])
    except UNREADABLE:
        yield from _read_one_by_one(list(rows.values_list("sequence", flat=True)[:STEP]))
        return
    for row in found:
        yield row["sequence"], row


def _read_one_by_one(sequences: list[int]) -> Iterator[tuple[int, dict[str, Any] | None]]:
    for sequence in sequences:
        try:
            yield sequence, Decision.objects.values(*chain.COVERED).get(sequence=sequence)
        except (Decision.DoesNotExist, *UNREADABLE):
            yield sequence, None


def _read_link(sequence: int) -> tuple[int, str]:
    """Return the place of an unreadable decision, and its hash if that can be read."""
    try:
        digest = Decision.objects.values_list("hash", flat=True).get(sequence=sequence)
    except (Decision.DoesNotExist, *UNREADABLE):
        digest = ""
    return sequence, str(digest)


def find_end_faults(verification: Verification) -> list[str]:
    """Check that the record ends where the head of the chain says."""
    faults = []
    if verification.last_hash != verification.head:
        faults.append(END)
    with transaction.atomic():
        head = ChainHead.objects.select_for_update().get(pk=1)
        # Not the highest one: an altered sequence may be no number.
        past = Decision.objects.filter(sequence__gt=head.sequence).order_by("-sequence")
        last = past.values_list("sequence", flat=True).first()
    if last is not None:
        faults.append(
            f"The record goes on to decision {last}, but the head of the chain is decision"
            f" {head.sequence}."
        )
    return faults
