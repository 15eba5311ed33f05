"""Checks of the chain of events, and of what the events say about the present."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import transaction

from moderation import record_keys
from moderation.models import (
    ChainHead,
    Decision,
    Policy,
    PolicyActivation,
    PublishedHead,
    RecordEvent,
    Verification,
)
from moderation.models.chain import EventIndex
from moderation.services import access_events, policy_contents, row_notes, sealing
from moderation.services.chain_checks import UNREADABLE

Kind = RecordEvent.Kind
AT_ONCE = 500  # events; SQLite accepts about 1,000 values in a statement


def find_faults(verification: Verification, events: EventIndex) -> list[str]:
    """Check all events up to the start of a verification, and the present state against them."""
    head = ChainHead.objects.get(pk=1)
    if not head.is_sealed:
        return _find_missing_seal(head)
    faults = _check_chain(verification)
    faults += _guarded(_check_end, "The newest event cannot be read.")
    faults += _guarded(lambda: _check_seal(events), "The seal of the record cannot be read.")
    for check, message in (
        (_check_policies, "The policies cannot be read."),
        (access_events.find_faults, "The access of people cannot be read."),
        (_check_verifications, "Earlier verifications cannot be read."),
        (_check_heads, "Published heads cannot be read."),
    ):
        faults += _check_twice(check, message)
    notes = _guarded(lambda: row_notes.find_faults(UNREADABLE), "The notes of rows cannot be read.")
    return faults + notes


def _find_missing_seal(head: ChainHead) -> list[str]:
    if not settings.RECORD_KEY or not head.sequence:
        return []
    return [
        "The record is not sealed, although RECORD_KEY is set. Run manage.py seal_record once after"
        " an upgrade; if it was sealed before, the record was replaced."
    ]


def _guarded(check: Callable[[], list[str]], message: str) -> list[str]:
    try:
        return check()
    except record_keys.RecordKeyError as error:
        return [str(error)]
    except UNREADABLE:
        return [message]


def _check_twice(check: Callable[[], list[str]], message: str) -> list[str]:
    """Return the faults that are found twice: a change meanwhile may have been half seen."""
    found = _guarded(check, message)
    if not found:
        return []
    again = set(_guarded(check, message))
    return [fault for fault in found if fault in again]


# --- The chain ---
@dataclass(slots=True)
class _EventCheck:
    """A check of events in order, and the place that it has reached."""

    expected: int = 1
    previous: str = ""
    key_id: str = ""
    faults: list[str] = field(default_factory=list)

    def read(self, sequence: int, event: RecordEvent | None, decision_hash: str | None) -> None:
        if sequence != self.expected:
            self.faults.append(
                f"Event {self.expected} of the record is missing: the next one is {sequence}."
            )
        try:
            self._check(sequence, event, decision_hash)
        except record_keys.RecordKeyError as error:
            if str(error) not in self.faults:
                self.faults.append(str(error))
        except UNREADABLE:
            self.faults.append(f"Event {sequence} of the record was altered: it cannot be read.")
        self.expected, self.previous = sequence + 1, event.hash if event else ""

    def _check(self, sequence: int, event: RecordEvent | None, decision_hash: str | None) -> None:
        if event is None:
            raise ValueError
        if event.kind == Kind.SEAL and sequence == 1:
            self.key_id = str(event.payload["key"])
        if event.previous_hash != self.previous and sequence == self.expected:
            self.faults.append(f"Event {sequence} does not follow from the one before it.")
        is_expected = event.key_id == self.key_id and decision_hash is not None
        if not is_expected or event.compute_hash(decision_hash or "") != event.hash:
            self.faults.append(f"Event {sequence} of the record was altered.")
        if event.kind == Kind.KEY:
            self.key_id = str(event.payload["key"])


def _check_chain(verification: Verification) -> list[str]:
    check = _EventCheck()
    for sequence, event, decision_hash in _read_events(verification.events_until):
        check.read(sequence, event, decision_hash)
    faults = check.faults
    if check.expected <= verification.events_until:
        faults.append(f"Event {check.expected} of the record is missing, and all events after it.")
    elif check.previous != verification.event_head:
        faults.append("The end of the events does not match the head of the chain.")
    return faults


def _read_events(until: int) -> Iterator[tuple[int, RecordEvent | None, str | None]]:
    """Yield events with their sequence and the hash of the last decision before each."""
    after = 0
    rows = RecordEvent.objects.filter(sequence__lte=until).order_by("sequence")
    while keys := list(
        rows.filter(sequence__gt=after).values_list("sequence", "decisions")[:AT_ONCE]
    ):
        decisions = {at for _, at in keys if isinstance(at, int)}
        found = Decision.objects.filter(sequence__in=decisions)
        hashes = {0: "", **dict(found.values_list("sequence", "hash"))}
        try:
            events = {row.sequence: row for row in rows.filter(sequence__gt=after)[:AT_ONCE]}
        except UNREADABLE:
            events = _read_one_by_one([sequence for sequence, _ in keys])
        for sequence, at in keys:
            yield sequence, events.get(sequence), hashes.get(at)
        after = keys[-1][0]


def _read_one_by_one(sequences: list[int]) -> dict[int, RecordEvent]:
    found = {}
    for sequence in sequences:
        try:
            found[sequence] = RecordEvent.objects.get(sequence=sequence)
        except (RecordEvent.DoesNotExist, *UNREADABLE):
            continue
    return found


def _check_end() -> list[str]:
    with transaction.atomic():
        head = ChainHead.objects.select_for_update().get(pk=1)
        past = RecordEvent.objects.filter(sequence__gt=head.events).order_by("-sequence")
        last = past.values_list("sequence", flat=True).first()
        changes = RecordEvent.objects.filter(kind__in=[Kind.SEAL, Kind.KEY]).order_by("-sequence")
        newest = changes.first()
    faults = []
    if last is not None:
        faults.append(
            f"The events go on to {last}, but the head of the chain is event {head.events}."
        )
    if newest is None or newest.payload.get("key") != head.key_id:
        faults.append("The head of the chain names another key than the events.")
    return faults


def _check_seal(events: EventIndex) -> list[str]:
    """Compare the decisions from before the seal with what the seal notes of them."""
    seal = RecordEvent.objects.filter(kind=Kind.SEAL).order_by("sequence").first()
    if seal is None:
        return ["The seal of the record is missing."]
    payload = seal.payload
    size = int(payload["chunk"])
    chunks = list(
        sealing.iter_chunks(
            record_keys.find_key(payload["key"]), until=int(payload["decisions"]), size=size
        )
    )
    return [
        f"Decisions {number * size + 1} to {min((number + 1) * size, payload['decisions'])}, or the"
        " images that they are about, were changed after the record was sealed."
        for number, (now, noted) in enumerate(zip(chunks, payload["chunks"], strict=True))
        if now != noted
    ]


# --- The present ---
def _check_policies() -> list[str]:
    """Compare the policies with what was put into force."""
    noted = list(
        RecordEvent.objects.filter(kind=Kind.POLICY)
        .order_by("sequence")
        .values_list("payload", flat=True)
    )
    policies = Policy.objects.prefetch_related("rules", "ask_rules", "earned_trusts")
    by_key = {policy.pk: policy for policy in policies}
    faults = []
    for key, payload in {payload["policy"]: payload for payload in noted}.items():
        policy = by_key.get(key)
        if policy is None:
            faults.append(f"Version {payload['version']} of the policy was deleted.")
        elif policy.version != payload["version"] or not policy_contents.has_content(
            policy, payload["content"]
        ):
            faults.append(
                f"Version {payload['version']} of the policy was changed after it was put into"
                " force."
            )
    active = [policy.pk for policy in policies if policy.is_active]
    if noted and active != [noted[-1]["policy"]]:
        faults.append(
            f"The policy in force is not version {noted[-1]['version']}, which was put into force"
            " last."
        )
    activations = set(PolicyActivation.objects.values_list("pk", flat=True))
    if activations != {payload["activation"] for payload in noted}:
        faults.append("Events that put policies into force were added or deleted without Loupe.")
    return faults


def _check_verifications() -> list[str]:
    """Check that each noted verification still exists with its result."""
    fields = ("until", "head", "events_until", "event_head", "faults")
    rows = Verification.objects.filter(status=Verification.Status.FINISHED)
    found = {row["pk"]: row for row in rows.values("pk", *fields)}
    faults = []
    for payload in RecordEvent.objects.filter(kind=Kind.VERIFICATION).values_list(
        "payload", flat=True
    ):
        row = found.get(payload["verification"], {})
        if any(row.get(name) != payload[name] for name in fields):
            faults.append(
                f"The verification up to decision {payload['until']} was changed or deleted."
            )
    return faults


def _check_heads() -> list[str]:
    """Check that each noted head to publish still exists."""
    found = dict(PublishedHead.objects.values_list("pk", "hash"))
    return [
        f"The published head at decision {payload['sequence']} was changed or deleted."
        for payload in RecordEvent.objects.filter(kind=Kind.HEAD).values_list("payload", flat=True)
        if any(found.get(pk) != payload["hash"] for pk in payload["rows"])
    ]


def describe_verification(verification: Verification) -> dict[str, Any]:
    """Return the payload of the event that notes a verification."""
    return {
        "verification": verification.pk,
        "until": verification.until,
        "head": verification.head,
        "events_until": verification.events_until,
        "event_head": verification.event_head,
        "faults": verification.faults,
    }
