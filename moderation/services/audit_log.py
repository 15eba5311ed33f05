"""Append decisions to the record, one at a time under the lock of the chain head."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import transaction

from generation.core.db.prepared.query import PreparedQuery, insert
from generation.core.uuid7 import make_uuid7
from moderation.models import (
    ChainHead,
    Decision,
    NamedCategory,
    Policy,
    Review,
    Verdict,
)
from moderation.services.verification import verify_record as verify_record

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
    head = _lock_head()
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
    _append(_lock_head(), decision)


def _lock_head() -> ChainHead:
    return _HEAD.rows(pk=1)[0]


def _append(head: ChainHead, decision: Decision) -> None:
    decision.sequence, decision.previous_hash = head.sequence + 1, head.hash
    decision.hash = decision.compute_hash()
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
