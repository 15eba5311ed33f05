"""Actions at the desk as requests of the test client, and helpers that prepare reviews."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from moderation import classifiers, demo
from moderation.models import ChainHead, Classification, Decision, Label, Review, Verdict
from moderation.models.classification_summary import serialize
from moderation.services import classification
from tests.moderation.record_helpers import unseal

HTMX = {"HX-Request": "true"}
# Fields of a policy that approves what the local detector alone has judged.
TRUSTING_LOCAL = {
    "trusted_silences": [classifiers.LOCAL],
    "accepted_unchecked": list(demo.ACCEPTED_UNCHECKED),
}
MakeReview = Callable[..., Review]
ClientOf = Callable[[User], Client]


def get_review_url(review: Review, queue: str = "") -> str:
    return review.get_absolute_url() + (f"?queue={queue}" if queue else "")


def start_queue(client: Client, slug: str = "waiting", **extra: Any) -> Any:
    return client.post(reverse("moderation:claim-next", args=[slug]), **extra)


def decide(client: Client, review: Review, verdict: str, *, htmx: bool = False, **data: Any) -> Any:
    address = reverse("moderation:decision-create", args=[review.uuid])
    return client.post(address, {"verdict": verdict, **data}, headers=HTMX if htmx else {})


def make_claimed_review(make_review: MakeReview, user: User) -> Review:
    review = make_review()
    assert review.claim_for(user)
    return review


def add_label(
    review: Review, category: str, confidence: int | None = 85, *, classifier: str = "scripted"
) -> None:
    """Add a label to a review, as the classification service does for a finding."""
    runs = Classification.objects
    run, _ = runs.get_or_create(
        asset=review.asset, classifier=classifier, version="1", defaults={"status": "done"}
    )
    classification.add_found_categories(
        review, [Label.objects.create(classification=run, category=category, confidence=confidence)]
    )


def store_classification_summary(review: Review) -> None:
    """Store the classification summary, as the classification service does after the last run."""
    Review.objects.filter(pk=review.pk).update(
        classification_summary=serialize(Classification.objects.for_asset(review.asset_id))
    )


def record_legacy_approval(review: Review, user: User, **fields: Any) -> Decision:
    """Append an approval without a policy in force, as older versions recorded it."""
    if ChainHead.objects.get().is_sealed:
        unseal()
    head = ChainHead.objects.get()
    row = Decision(
        review=review,
        verdict=Verdict.APPROVE,
        reviewer=user,
        reviewer_name=user.get_username(),
        policy=review.policy,
        sequence=head.sequence + 1,
        previous_hash=head.hash,
        **fields,
    )
    row.hash = row.compute_hash()
    row.save(force_insert=True)
    ChainHead.objects.update(sequence=row.sequence, hash=row.hash)
    return row
