"""Appending to the record: one link at a time, under the lock of the chain's head."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from django.db import transaction

from moderation.models import ChainHead, Decision, NamedCategory, Policy, Review, Verdict

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@transaction.atomic
def record_decision(
    *,
    review: Review,
    verdict: Verdict,
    categories: Iterable[str] = (),
    note: str = "",
    reviewer: User | None = None,
    policy: Policy | None = None,
    by_policy: bool = False,
    seconds: Decimal | None = None,
    reverses: Decision | None = None,
    second_of: Decision | None = None,
    batch: UUID | None = None,
    uuid: UUID | None = None,
) -> Decision:
    """Append one decision to the chain. The caller moves the review in the same transaction."""
    head = ChainHead.objects.select_for_update().get(pk=1)
    decision = Decision(
        uuid=uuid or uuid4(),
        review=review,
        verdict=verdict,
        categories=list(categories),
        note=note,
        reviewer=reviewer,
        reviewer_name=reviewer.get_username() if reviewer else "",
        policy=policy,
        by_policy=by_policy,
        seconds=seconds,
        reverses=reverses,
        second_of=second_of,
        batch=batch,
        sequence=head.sequence + 1,
        previous_hash=head.hash,
    )
    decision.hash = decision.digest()
    decision.save(force_insert=True)
    if decision.categories:
        NamedCategory.store(decision)
    ChainHead.objects.filter(pk=1).update(sequence=decision.sequence, hash=decision.hash)
    return decision
