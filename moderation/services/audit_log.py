"""Append decisions and events to the record, one at a time under the lock of the chain head."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from generation.core.db.prepared.query import PreparedQuery, insert
from generation.core.uuid7 import make_uuid7
from moderation.models import (
    ChainHead,
    Decision,
    NamedCategory,
    Policy,
    RecordEvent,
    Review,
    Verdict,
    chain,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def record_decision(
    *,
    review: Review,
    verdict: Verdict,
    categories: Iterable[str] = (),
    note: str = "",
    is_blurred: bool = False,
    reviewer: User | None = None,
    policy_id: int | None = None,
    by_policy: bool = False,
    seconds: Decimal | None = None,
    reverses: Decision | None = None,
    second_of: Decision | None = None,
    batch: UUID | None = None,
    uuid: UUID | None = None,
) -> Decision:
    """Append one decision to the chain.

    The caller must have begun a transaction and changes the review's status in it.

    Raises IntegrityError if another decision has this ``uuid``.
    """
    if not transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError(
            "A decision and what becomes of its image are one transaction."
        )
    # Before the row is made: decisions in order of their sequence are in order of time, too.
    head = lock_head()
    decision = Decision(
        uuid=uuid or make_uuid7(),
        review=review,
        verdict=verdict,
        categories=list(categories),
        note=note,
        is_blurred=is_blurred,
        reviewer=reviewer,
        reviewer_name=reviewer.get_username() if reviewer else "",
        policy_id=policy_id,
        policy_in_force_id=_IN_FORCE.rows()[0].pk,
        by_policy=by_policy,
        seconds=seconds,
        reverses=reverses,
        second_of=second_of,
        batch=batch,
    )
    _append(head, decision)
    return decision


def append(decision: Decision) -> None:
    """Append a decision that is complete but for its place in the chain.

    The caller must have begun a transaction. Its time must not be before that of the last decision.
    """
    _append(lock_head(), decision)


def record_event(
    kind: RecordEvent.Kind, payload: Mapping[str, Any], *, subject: str = ""
) -> RecordEvent | None:
    """Append an event to the record; return None if the record is not sealed yet.

    Call it in the transaction of the change. ``payload`` has JSON types, dates and decimals; in a
    record without a seal it is not needed, because the seal notes what is there then.
    """
    with transaction.atomic():
        head = lock_head()
        return append_event(head, kind, payload, subject=subject) if head.is_sealed else None


def append_event(
    head: ChainHead,
    kind: RecordEvent.Kind,
    payload: Mapping[str, Any],
    *,
    subject: str = "",
    **changes: Any,
) -> RecordEvent:
    """Append an event to the record whose locked head is given, and change the head with it."""
    event = RecordEvent(
        sequence=head.events + 1,
        kind=kind,
        subject=subject,
        payload=json.loads(json.dumps(payload, default=str)),
        decisions=head.sequence,
        created_at=timezone.now(),
        key_id=head.key_id,
        previous_hash=head.event_hash,
    )
    event.hash = event.compute_hash(head.hash)
    event.save(force_insert=True)
    changes |= {"events": event.sequence, "event_hash": event.hash}
    for name, value in changes.items():
        setattr(head, name, value)
    head.save(update_fields=list(changes))
    return event


def lock_head() -> ChainHead:
    """Lock the head of the chain until the end of the transaction."""
    return _HEAD.rows(pk=1)[0]


def _append(head: ChainHead, decision: Decision) -> None:
    decision.sequence, decision.previous_hash = head.sequence + 1, head.hash
    decision.version = head.version
    if head.is_sealed:
        decision.evidence = chain.hash_evidence(decision.review.classification_summary)
    last = chain.EventIndex(
        decisions=[head.sequence], hashes=[head.event_hash], key_ids=[head.key_id]
    )
    decision.hash = decision.compute_hash(last)
    insert(decision)
    if decision.categories:
        NamedCategory.store(decision)
    _MOVE_HEAD.update(pk=1, sequence=decision.sequence, hash=decision.hash)


_HEAD = PreparedQuery(lambda pk: ChainHead.objects.select_for_update().filter(pk=pk), pk=int)
_IN_FORCE = PreparedQuery(lambda: Policy.objects.filter(is_active=True).only("pk"))
_MOVE_HEAD = PreparedQuery(
    lambda pk, sequence, hash: (
        ChainHead.objects.filter(pk=pk),
        {"sequence": sequence, "hash": hash},
    ),
    pk=int,
    sequence=int,
    hash=str,
)
