"""A new policy, applied to the images that wait."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from moderation.models import Decision, Policy, Reclassification, Resettlement, Review
from moderation.services import policies
from tests.moderation.page_helpers import ClientOf, decide
from tests.moderation.reclassification_helpers import (
    MakeAsset,
    Steered,
    get_review,
    make_due,
    run_jobs,
    store,
    use_steered,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _steered(settings: Any) -> Iterator[None]:
    use_steered(settings)
    yield
    Steered.results.clear()


def make_lenient(lead: User) -> Policy:
    """Create a policy that approves imports, rejects "explicit" from 60 and is not in force."""
    draft = policies.create_version(
        based_on=Policy.objects.active(), user=lead, approves_imports=True
    )
    draft.rules.filter(category="explicit").update(reject_at=60)
    return draft


def test_waiting_images_are_settled_by_the_new_policy_after_a_preview(
    make_asset: MakeAsset, lead: User, client_of: ClientOf
) -> None:
    clean, explicit, unsure = store(make_asset), store(make_asset, 70), store(make_asset, 30)
    draft, browser = make_lenient(lead), client_of(lead)
    address = f"/policies/{draft.version}/proposal/"

    page = browser.get(address).content.decode()

    assert "3 images wait for a first decision" in page
    for words in ("approve", "reject", "and leave"):
        assert f'{words} <strong class="num">1</strong>' in page
    assert Policy.objects.active() != draft
    assert not Reclassification.objects.exists()

    browser.post(address, {"reason": "To trust imports.", "starts": "now", "approve": "1"})
    run_jobs()

    statuses = [get_review(asset).status for asset in (clean, explicit, unsure)]
    assert statuses == ["approved", "rejected", "pending"]
    assert {row.policy for row in Review.objects.all()} == {draft}
    assert {(row.by_policy, row.policy) for row in Decision.objects.all()} == {(True, draft)}
    assert "policy version 2 asks a person" in get_review(unsure).reason
    for asset in (clean, unsure):
        dossier = browser.get(f"/assets/{asset.uuid}/").content.decode()
        assert dossier.count("Changed policy applied to the waiting images") == 1
    order = Reclassification.objects.get()
    assert (order.status, order.images, order.ordered_by) == ("finished", 3, lead)
    assert not Resettlement.objects.exists()


def test_held_image_is_left_alone_until_the_claim_ends(
    make_asset: MakeAsset, lead: User, moderator: User
) -> None:
    asset = store(make_asset)
    assert get_review(asset).claim_for(moderator)

    policies.activate(policy=make_lenient(lead), user=lead)
    run_jobs()

    review = get_review(asset)
    assert (review.status, review.is_held_by(moderator)) == (Review.Status.PENDING, True)
    assert Resettlement.objects.get().review == review

    Review.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    make_due()
    run_jobs()

    review = get_review(asset)
    assert (review.status, review.claimed_by) == (Review.Status.APPROVED, None)


def test_image_that_a_person_reopened_is_not_decided_by_the_policy(
    make_asset: MakeAsset, lead: User, moderator: User, client_of: ClientOf
) -> None:
    review, browser = get_review(store(make_asset)), client_of(moderator)
    assert review.claim_for(moderator)
    decide(browser, review, "reject", categories=["violence.weapons"])
    browser.post(reverse("moderation:undo"))
    Review.objects.update(claimed_by=None, claimed_until=None)

    policies.activate(policy=make_lenient(lead), user=lead)
    run_jobs()

    review.refresh_from_db()
    assert (review.status, Decision.objects.count()) == (Review.Status.PENDING, 2)


def test_decided_image_keeps_its_decision_under_a_new_policy(
    make_asset: MakeAsset, lead: User, moderator: User, client_of: ClientOf
) -> None:
    review = get_review(store(make_asset, 70))
    assert review.claim_for(moderator)
    decide(client_of(moderator), review, "approve")

    policies.activate(policy=make_lenient(lead), user=lead)
    run_jobs()

    review.refresh_from_db()
    assert (review.status, Decision.objects.count()) == (Review.Status.APPROVED, 1)


def test_second_policy_replaces_the_order_of_the_first(make_asset: MakeAsset, lead: User) -> None:
    store(make_asset)
    first = Policy.objects.active()

    policies.activate(policy=make_lenient(lead), user=lead)
    policies.activate(policy=first, user=lead)
    run_jobs()

    assert list(Reclassification.objects.order_by("pk").values_list("status", flat=True)) == [
        "cancelled",
        "finished",
    ]
    assert Review.objects.get().status == Review.Status.PENDING
