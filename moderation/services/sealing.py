"""The seal of the record: from it on, decisions and events are signed with RECORD_KEY.

A new database is sealed by ``migrate``. In an existing one an operator does it, after the last
process of an older version has stopped: such a process cannot sign.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.conf import settings
from django.db import transaction

from moderation import record_keys
from moderation.models import ChainHead, Decision, PolicyActivation, RecordEvent, chain
from moderation.services import access_events, audit_log, policy_contents, row_notes

CHUNK: Final = 5_000  # decisions
NO_KEY: Final = (
    "RECORD_KEY is empty. Set it to 50 random characters, in every process, and keep a copy outside"
    " of this server: without it the record cannot be verified."
)


class SealError(Exception):
    """A seal or a change of the key that is not possible; the message is for operators."""


def seal(*, faults: int = 0) -> RecordEvent:
    """Seal the record, and note everything that decides outcomes now.

    ``faults``: how many were found just before. Raises SealError.
    """
    key_id = record_keys.current_key_id()
    if not key_id:
        raise SealError(NO_KEY)
    key = record_keys.find_key(key_id)
    # Most of the work is done before the lock, which stops all decisions.
    until = ChainHead.objects.get(pk=1).sequence // CHUNK * CHUNK
    chunks = list(iter_chunks(key, until=until))
    with transaction.atomic():
        head = audit_log.lock_head()
        if head.is_sealed:
            raise SealError("The record is sealed already.")
        chunks += iter_chunks(key, after=until, until=head.sequence)
        payload = {
            "key": key_id,
            "decisions": head.sequence,
            "hash": head.hash,
            "chunk": CHUNK,
            "chunks": chunks,
            "faults": faults,
        }
        head.key_id = key_id
        event = audit_log.append_event(
            head, RecordEvent.Kind.SEAL, payload, version=chain.SIGNED, key_id=key_id
        )
        _note_present()
    return event


def iter_chunks(key: bytes, *, until: int, after: int = 0, size: int = CHUNK) -> Iterator[str]:
    """Yield a signature of each chunk of decisions from before the seal, with all they are about.

    Their own hashes do not cover the images.
    """
    while after < until:
        rows = Decision.objects.filter(sequence__gt=after, sequence__lte=min(after + size, until))
        found = rows.order_by("sequence").values(*chain.COVERED)
        yield record_keys.sign(
            {"decisions": [chain.sign_content(row, key=key) for row in found]}, key
        )
        after += size


def _note_present() -> None:
    activations = PolicyActivation.objects.select_related("policy").order_by("created_at", "pk")
    for activation in activations:
        note_activation(activation)
    access_events.record_roles()
    access_events.record_everyone()
    row_notes.note_rows(settle=False)


def note_activation(activation: PolicyActivation) -> RecordEvent | None:
    """Record that a policy was put into force, with its whole content."""
    policy = activation.policy
    payload: dict[str, Any] = {
        "activation": activation.pk,
        "policy": policy.pk,
        "version": policy.version,
        "content": policy_contents.serialize(policy),
    }
    return audit_log.record_event(RecordEvent.Kind.POLICY, payload, subject=str(policy.pk))


def rotate_key() -> RecordEvent:
    """Sign with RECORD_KEY from now on. Raises SealError, RecordKeyError."""
    key_id = record_keys.current_key_id()
    if not key_id:
        raise SealError(NO_KEY)
    with transaction.atomic():
        head = audit_log.lock_head()
        if not head.is_sealed:
            raise SealError("The record is not sealed yet: run manage.py seal_record.")
        if head.key_id == key_id:
            raise SealError(f"The record is signed with RECORD_KEY ({key_id}) already.")
        # Signed with the earlier key, so only an owner of it can name its successor.
        return audit_log.append_event(
            head, RecordEvent.Kind.KEY, {"key": key_id, "before": head.key_id}, key_id=key_id
        )


def seal_new_record() -> bool:
    """Seal a record without decisions; return whether it was done."""
    head = ChainHead.objects.filter(pk=1, version=chain.UNSIGNED, sequence=0).first()
    if head is None or not settings.RECORD_KEY:
        return False
    seal()
    return True


def explain_state(head: ChainHead | None = None) -> str:
    """Return what an operator must do about the keys of the record; "" for nothing."""
    head = head or ChainHead.objects.filter(pk=1).first()
    if head is None:
        return ""
    if not head.is_sealed:
        if not settings.RECORD_KEY:
            return f"The record is not sealed. {NO_KEY} Then run manage.py seal_record."
        return "The record is not sealed: run manage.py seal_record."
    try:
        record_keys.find_key(head.key_id)
    except record_keys.RecordKeyError as error:
        return str(error)
    if head.key_id != record_keys.current_key_id():
        return "The record is signed with an earlier key: run manage.py rotate_record_key."
    return ""
