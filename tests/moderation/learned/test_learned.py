"""The classifier: what shadow, advisory and active heads change."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

import moderation.tasks
from moderation.classifiers import learned
from moderation.models import Classification, Decision, Embedding, Head, Policy, Review
from moderation.policy_engine import PARTLY_JUDGED_RISK
from tests.moderation.encoder_helpers import MeanColour
from tests.moderation.learned.house import WEAPONS, House, make_head

pytestmark = pytest.mark.django_db
Status = Review.Status


def get_outcome(review: Review) -> dict[str, Any]:
    """Return everything that was settled about a review."""
    review.refresh_from_db()
    fields = (
        *("status", "reason", "risk", "top_category", "top_category_l1", "top_confidence"),
        *("found", "classification_summary", "is_blurred", "policy_id"),
    )
    decisions = Decision.objects.filter(review=review).values_list(
        "verdict", "categories", "note", "is_blurred", "by_policy", "policy", "policy_in_force"
    )
    return {name: getattr(review, name) for name in fields} | {"decisions": list(decisions)}


def get_run(review: Review) -> Classification:
    return Classification.objects.get(asset=review.asset_id, classifier="learned")


@pytest.fixture
def opennsfw(settings: Any) -> None:
    settings.CLASSIFIERS = ["opennsfw", "learned"]


@pytest.mark.usefixtures("opennsfw")
@pytest.mark.parametrize("is_approved", [True, False])
def test_shadow_head_changes_no_outcome(
    house: House, approving_policy: Policy, is_approved: bool
) -> None:
    if not is_approved:
        Policy.objects.update(accepted_unchecked=[])
    before = transaction.savepoint()
    without = get_outcome(house.store(is_red=True))
    transaction.savepoint_rollback(before)
    make_head("shadow")

    review = house.store(is_red=True, seed=1)

    assert get_outcome(review) == without
    assert bool(without["decisions"]) is is_approved
    run = get_run(review)
    assert run.raw["heads"][0]["probability"] > 0.8
    assert (run.labels.count(), run.flagged, run.covers) == (0, None, {})


@pytest.mark.usefixtures("approving_policy", "opennsfw")
def test_advisory_head_does_not_change_an_approval(house: House) -> None:
    make_head("advisory")

    review = house.store(is_red=True)

    assert review.status == Status.APPROVED
    assert get_run(review).labels.get().category == WEAPONS


@pytest.mark.usefixtures("approving_policy", "opennsfw")
def test_advisory_head_sorts_images_that_wait_for_people(house: House) -> None:
    Policy.objects.update(approves_imports=False)
    make_head("advisory")

    red, blue = house.store(is_red=True), house.store(is_red=False)

    assert (red.status, blue.status) == (Status.PENDING, Status.PENDING)
    assert blue.risk == 0
    assert 80 < red.risk < PARTLY_JUDGED_RISK
    assert red.top_category == WEAPONS
    assert "only sorts the queue" in red.reason


@pytest.mark.usefixtures("opennsfw")
def test_finding_of_advisory_head_is_no_coverage(house: House, approving_policy: Policy) -> None:
    accepted = [slug for slug in approving_policy.accepted_unchecked if slug != "violence"]
    Policy.objects.update(accepted_unchecked=accepted, trusted_silences=["opennsfw", "learned"])
    make_head("advisory", category="violence")

    red, blue = house.store(is_red=True), house.store(is_red=False)

    assert (red.status, blue.status) == (Status.PENDING, Status.APPROVED)
    assert get_run(blue).covers == {"violence": "heuristic"}
    assert get_run(red).covers == {}


@pytest.mark.usefixtures("approving_policy", "opennsfw")
def test_active_head_sends_to_a_person_what_others_would_reject_or_blur(house: House) -> None:
    make_head("active")

    red, blue = house.store(is_red=True), house.store(is_red=False)

    assert (red.status, blue.status) == (Status.PENDING, Status.APPROVED)
    assert red.top_confidence is not None
    assert red.top_confidence >= 90  # the policy rejects from there
    assert get_run(red).flagged is True
    assert not Decision.objects.filter(review=red).exists()


@pytest.mark.usefixtures("approving_policy", "opennsfw")
def test_active_head_that_may_reject_rejects_by_the_policy(house: House) -> None:
    make_head("active", may_reject=True)

    review = house.store(is_red=True)

    assert review.status == Status.REJECTED
    assert Decision.objects.get(review=review).categories == [WEAPONS]


@pytest.mark.usefixtures("approving_policy")
def test_head_of_an_l2_does_not_cover_its_l1(house: House) -> None:
    make_head("active")

    assert get_run(house.store(is_red=False)).covers == {}


@pytest.mark.usefixtures("approving_policy")
def test_active_head_of_an_l1_covers_it_partially(house: House) -> None:
    make_head("active", category="violence")

    assert get_run(house.store(is_red=False)).covers == {"violence": "partial"}


@pytest.mark.usefixtures("approving_policy")
def test_active_head_counts_before_an_advisory_one_of_its_category(house: House) -> None:
    active, advisory = make_head("active"), make_head("advisory")

    run = get_run(house.store(is_red=True))

    assert {each["head"] for each in run.raw["heads"]} == {active.pk, advisory.pk}
    assert (run.raw["sorting"], run.raw["asking"]) == ([], [WEAPONS])


# --- Images and heads that cannot be used ---
def test_no_head_for_the_encoder_makes_no_run(house: House) -> None:
    make_head("active")
    Head.objects.update(encoder_version="another-1")

    review = house.store(is_red=True)

    assert not Classification.objects.filter(asset=review.asset_id).exists()
    assert review.status == Status.PENDING


def test_head_for_other_prompts_is_not_used(house: House) -> None:
    make_head("active")
    Head.objects.update(zero_shot_version="other-prompts")

    assert not Classification.objects.filter(asset=house.store(is_red=True).asset_id).exists()


def break_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(self: Any, picture: Any) -> None:
        raise RuntimeError("no vector")

    monkeypatch.setattr(MeanColour, "encode", encode)


@pytest.mark.usefixtures("opennsfw", "approving_policy")
@pytest.mark.parametrize("status", ["shadow", "advisory"])
def test_failed_embedding_is_no_failure_of_heads_that_do_not_decide(
    house: House, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    make_head(status)
    break_encoder(monkeypatch)

    review = house.store(is_red=True)

    assert review.status == Status.APPROVED
    assert get_run(review).raw == {"no_evidence": "The image has not been embedded."}


@pytest.mark.usefixtures("opennsfw", "approving_policy")
def test_image_without_embedding_goes_to_a_person_if_an_active_head_should_judge_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_head("active")
    break_encoder(monkeypatch)

    review = house.store(is_red=True)

    assert review.status == Status.PENDING
    assert "Learned heads could not judge it: The image was not embedded" in review.reason


@pytest.mark.usefixtures("opennsfw", "approving_policy")
def test_image_waits_for_an_embedding_that_is_tried_again(house: House) -> None:
    make_head("active")
    review = house.store(is_red=False)
    run = get_run(review)
    Classification.objects.filter(pk=run.pk).update(status="queued", due_at=run.created_at)
    later = run.created_at + learned.EMBEDDING_WAIT * 1000
    Embedding.objects.update(vector=None, finished_at=None, due_at=later, error="Busy.", attempts=9)

    with pytest.raises(learned.ClassifierError, match="not embedded yet") as caught:
        learned.Learned().classify(review.asset)
    moderation.tasks.classify()

    assert caught.value.retry_after == learned.EMBEDDING_WAIT


@pytest.mark.usefixtures("opennsfw", "approving_policy")
@pytest.mark.parametrize(("status", "expected"), [("shadow", "approved"), ("active", "pending")])
def test_altered_head_is_not_used(house: House, status: str, expected: str) -> None:
    head = make_head(status)
    Head.objects.update(artefact=head.artefact.replace('"bias":', '"bias":1'))

    assert house.store(is_red=True).status == expected


# --- Version ---
def test_version_changes_with_the_heads_that_decide_and_with_nothing_else() -> None:
    classifier = learned.Learned()
    make_head("shadow")
    shadow = classifier.version
    make_head("active", category="alcohol")
    with_active = classifier.version
    make_head("shadow", category="gambling")

    assert shadow == "shadow-c0-r1"
    assert with_active != shadow
    assert classifier.version == with_active
