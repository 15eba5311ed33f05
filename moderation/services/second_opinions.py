"""Second opinions: a blind second check of a sample of decisions.

The first decision stays in effect meanwhile. The second one is recorded as a decision that refers
to the first; if they differ, the review goes to a senior.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User

from moderation.models import Decision, Review
from moderation.models.decisions import is_blurred_after, is_for_lead_after, status_after
from moderation.models.reviews import ReviewQuerySet
from moderation.services import webhook_events

Opinion = Review.SecondOpinion
SETTLERS_NAMED = 5
# The authors of both opinions and the requester: with more seniors, one may always settle.
PARTIES_MAX = 3
_PARTS = 10_000
_DIGITS = 15  # hexadecimal digits of the hash; enough for an even distribution


def is_drawn(decision: Decision) -> bool:
    """Return whether a decision is in the sample.

    The draw uses the hash, which cannot be predicted or chosen but can be checked. It does not use
    the UUID, which may come from the browser and could be chosen to avoid the draw.
    """
    return is_hash_drawn(decision, settings.SECOND_OPINION_PERCENT / 100)


def is_hash_drawn(decision: Decision, probability: Decimal) -> bool:
    """Return whether a decision's hash draws it with this probability, in ten thousandths."""
    return int(decision.hash[:_DIGITS], 16) % _PARTS < probability * _PARTS


def find_first(review: Review) -> Decision:
    """Return the decision that a second opinion on this review refers to."""
    return [row for row in Decision.objects.list_effective(review) if row.second_of_id is None][-1]


def list_settlers(review: Review) -> list[str]:
    """Return the usernames of seniors who may settle a disagreement.

    Excluded are the authors of both opinions and the person who requested the image.
    """
    return _list_others(review, "moderation.decide_escalated_review")


def list_leads(review: Review) -> list[str]:
    """Return the usernames of policy leads who may decide a review, without its parties."""
    return _list_others(review, Review.LEAD_PERMISSION)


def count_without_settler(disputed: ReviewQuerySet) -> int:
    """Count disagreements that no senior may settle, because each of them is a party."""
    able = User.objects.with_perm(
        "moderation.decide_escalated_review", backend="django.contrib.auth.backends.ModelBackend"
    )
    seniors = list(able.values_list("pk", flat=True)[: PARTIES_MAX + 1])
    if len(seniors) > PARTIES_MAX:
        return 0
    for senior in seniors:
        disputed = disputed.with_party(senior, own=not settings.DECIDE_OWN_REQUESTS)
    return disputed.count()


def _list_others(review: Review, permission: str) -> list[str]:
    """Return the usernames of people with a permission who are no party to a review."""
    parties = [row.reviewer_id for row in Decision.objects.list_effective(review)]
    if not settings.DECIDE_OWN_REQUESTS:
        parties.append(review.requested_by_id)
    able = User.objects.with_perm(permission, backend="django.contrib.auth.backends.ModelBackend")
    others = able.exclude(pk__in=[pk for pk in parties if pk is not None]).order_by("username")
    return list(others.values_list("username", flat=True)[:SETTLERS_NAMED])


def conclude(*, review: Review, decision: Decision, **fields: Any) -> None:
    """Record agreement, or escalate the review. ``fields`` are written with it."""
    if not decision.disagrees:
        Review.objects.filter(pk=review.pk).update(second_opinion=Opinion.AGREED, **fields)
        review.refresh_from_db()
        return
    review.move_to(
        Review.Status.ESCALATED,
        only_from=review.status,
        second_opinion=Opinion.DISAGREED,
        decided_at=None,
        decided_by=None,
        is_blurred=False,
        for_lead=not list_settlers(review) and bool(list_leads(review)),
        **fields,
    )
    webhook_events.queue_events(review)


def restore(*, review: Review, effective: Sequence[Decision], reversed_one: Decision) -> None:
    """Reset a review after a reversal to its remaining decisions in effect, unclaimed."""
    status = status_after(effective)
    last = next((row for row in reversed(effective) if row.second_of_id is None), None)
    is_final = status in Review.DECIDED and last is not None
    fields: dict[str, Any] = {
        "second_opinion": compute_opinion(
            effective, is_open=is_final and reversed_one.second_of_id is not None
        ),
        "decided_at": last.created_at if is_final and last else None,
        "decided_by": last.reviewer if is_final and last else None,
        "claimed_by": None,
        "claimed_until": None,
        "is_blurred": is_blurred_after(effective),
        "for_lead": is_for_lead_after(effective),
    }
    if status == review.status:
        Review.objects.filter(pk=review.pk).update(**fields)
        review.refresh_from_db()
    else:
        review.move_to(status, **fields)


def compute_opinion(effective: Sequence[Decision], *, is_open: bool) -> Opinion:
    """Return the second opinion's state from the decisions in effect.

    ``is_open``: a second opinion was reversed, so another one is due.
    """
    seconds = [row for row in effective if row.second_of_id is not None]
    if seconds:
        return Opinion.DISAGREED if any(row.disagrees for row in seconds) else Opinion.AGREED
    return Opinion.WANTED if is_open else Opinion.NONE
