"""Apply the policy in force again to reviews that were settled before.

It may approve or reject a review that waits for a person, unless somebody holds it or has decided
it before. Decided and escalated reviews keep their status.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from moderation.models import (
    Classification,
    Decision,
    NewFinding,
    Policy,
    Resettlement,
    Review,
)
from moderation.models.classification_summary import serialize
from moderation.models.reviews import ReviewQuerySet
from moderation.policy_engine import (
    FLAGGED_RISK,
    PARTLY_JUDGED_RISK,
    UNJUDGED_RISK,
    Outcome,
    Settlement,
)
from moderation.services import classification, earned_trust

LEASE = timedelta(seconds=60)
BATCH = 20
PREVIEWED = 1_000  # images that a preview reads: less than a second
CHUNK = 500  # SQLite accepts about 1,000 values in a statement


# --- The job ---
def run_due(*, go_on: Callable[[], bool]) -> None:
    """Apply the policy to the reviews that are due."""
    while go_on():
        rows = Resettlement.objects.claim(limit=BATCH, lease=LEASE)
        if not rows:
            return
        for row in rows:
            with transaction.atomic():
                _resettle(row)


def _resettle(row: Resettlement) -> None:
    """Process a claimed row, and delete it unless somebody holds the review."""
    review = (
        Review.objects.select_for_update(of=("self",)).select_related("asset").get(pk=row.review_id)
    )
    held = Resettlement.objects.filter(pk=row.pk, lease=row.lease)
    runs = Classification.objects.current_for_asset(review.asset_id)
    if review.status == Review.Status.CLASSIFYING or any(
        run.status == Classification.Status.QUEUED for run in runs
    ):
        held.delete()  # the end of the last run adds it again
    elif review.status == Review.Status.PENDING and not _has_decisions(review):
        if review.is_claimed:
            held.update(due_at=review.claimed_until)
            return
        if held.delete()[0]:
            classification.settle_again(review=review)
    elif held.delete()[0]:
        _store_results(review, runs)


def _has_decisions(review: Review) -> bool:
    return Decision.objects.filter(review=review).exists()


def _store_results(review: Review, runs: Sequence[Classification]) -> None:
    """Show the new results of a review that keeps its status, and report a new finding."""
    Review.objects.filter(pk=review.pk).update(classification_summary=serialize(runs))
    if review.status != Review.Status.APPROVED:
        return
    policy = Policy.objects.active()
    settlement = classification.compute_settlement(
        review, runs, classification.build_rules(policy), earned_trust.read_bounds(policy)
    )
    if _is_new_finding(review, settlement):
        NewFinding.objects.update_or_create(
            review=review,
            defaults={
                "reason": settlement.reason,
                "created_at": timezone.now(),
                "seen_at": None,
                "seen_by": None,
            },
        )


def _is_new_finding(review: Review, settlement: Settlement) -> bool:
    """Return whether a settlement finds more than the one on which the review was decided."""
    if settlement.outcome is Outcome.APPROVE:
        return False
    if settlement.top_category or settlement.confidence is not None:
        return settlement.top_category != review.top_category or (settlement.confidence or 0) > (
            review.top_confidence or 0
        )
    return settlement.risk == FLAGGED_RISK and review.risk not in (
        FLAGGED_RISK,
        PARTLY_JUDGED_RISK,
        UNJUDGED_RISK,
    )


# --- New policies ---
def list_undecided() -> ReviewQuerySet:
    """Return the waiting reviews that the policy may settle: without any decision so far."""
    decisions = Decision.objects.filter(review=OuterRef("pk"))
    return Review.objects.waiting().filter(~Exists(decisions))


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The effect of a policy on the waiting images."""

    waiting: int
    read: int  # the oldest ones, to which the policy was applied
    approved: int  # including those that are delivered blurred
    blurred: int
    rejected: int

    @property
    def is_sample(self) -> bool:
        return self.read < self.waiting

    @property
    def remaining(self) -> int:
        return self.read - self.approved - self.rejected


def preview(policy: Policy) -> Preview:
    """Apply a policy to the oldest waiting images without storing anything."""
    rules, bounds = classification.build_rules(policy), earned_trust.read_bounds(policy)
    outcomes = Counter(
        classification.compute_settlement(review, runs, rules, bounds).outcome
        for review, runs in _read_oldest()
    )
    return Preview(
        waiting=list_undecided().count(),
        read=outcomes.total(),
        approved=outcomes[Outcome.APPROVE] + outcomes[Outcome.BLUR],
        blurred=outcomes[Outcome.BLUR],
        rejected=outcomes[Outcome.REJECT],
    )


def _read_oldest() -> Iterator[tuple[Review, list[Classification]]]:
    rows = list_undecided().order_by("pk").select_related("asset")
    oldest = list(rows[:PREVIEWED])
    for start in range(0, len(oldest), CHUNK):
        chunk = oldest[start : start + CHUNK]
        found = Classification.objects.current_for_assets([row.asset_id for row in chunk])
        for review in chunk:
            runs = found.get(review.asset_id, [])
            if all(run.status != Classification.Status.QUEUED for run in runs):
                yield review, runs
