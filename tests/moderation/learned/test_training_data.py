"""The decisions that are labels, and their categories."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from generation.models import GenerationRequest, Source
from moderation import taxonomy
from moderation.models import Audit, Decision, Embedding, Policy, Review, Verdict
from moderation.services import learning, policies, training_data
from moderation.services.audit_log import record_decision
from moderation.services.decisions import reverse
from moderation.services.training_data import (
    ImageLabel,
    Recipe,
    build_examples,
    collect_labels,
    list_watched,
)
from tests.moderation.learned.house import WEAPONS, House

pytestmark = pytest.mark.django_db


def collect(**limits: Any) -> list[ImageLabel]:
    return list(collect_labels(learning.build_current_recipe(**limits)).labels)


def get_label(review: Review, **limits: Any) -> ImageLabel | None:
    found = [label for label in collect(**limits) if label.asset_id == review.asset_id]
    return found[0] if found else None


@pytest.fixture
def watching_violence(db: None) -> None:
    policy = Policy.objects.active()
    policy.rules.all().delete()
    policy.rules.create(category="violence", review_at=20)
    policy.rules.create(category="alcohol.use", review_at=20)


# --- Which categories ---
@pytest.mark.usefixtures("watching_violence")
def test_approval_says_no_to_what_the_policy_watched_and_nothing_else(house: House) -> None:
    review = house.store(is_red=False)
    house.judge(review, "approve")

    label = get_label(review)

    assert label is not None
    assert label.positives == frozenset()
    assert label.negatives == {"violence", "violence.weapons", "violence.graphic", "alcohol.use"}


def test_rejection_says_yes_to_its_reasons_and_nothing_else(house: House) -> None:
    review = house.store(is_red=True)
    house.judge(review, "reject", categories=[WEAPONS])

    label = get_label(review)

    assert label is not None
    assert label.positives == {WEAPONS, "violence"}
    assert label.negatives == frozenset()


@pytest.mark.usefixtures("watching_violence")
def test_policy_in_force_at_the_decision_counts(house: House, lead: User) -> None:
    before = house.store(is_red=False)
    house.judge(before, "approve")
    wide = policies.create_version(based_on=Policy.objects.active(), user=lead)
    wide.rules.create(category="gambling", review_at=20)
    policies.activate(policy=wide, user=lead)
    after = house.store(is_red=False)
    house.judge(after, "approve")

    first, second = get_label(before), get_label(after)

    assert first is not None
    assert second is not None
    assert "gambling" in second.negatives
    assert "gambling" not in first.negatives


def test_l1_is_watched_by_its_rule_or_by_rules_of_all_its_l2s() -> None:
    children = {child.slug for child in taxonomy.list_children("violence")}

    assert list_watched(["violence"]) == {"violence", *children}
    assert list_watched(children) == {"violence", *children}
    assert list_watched([WEAPONS]) == {WEAPONS}
    assert list_watched([]) == frozenset()


# --- What is no label ---
def test_escalation_is_no_label(house: House) -> None:
    review = house.store(is_red=True)
    house.judge(review, "escalate", note="Unsure.")

    assert collect() == []


def test_reversed_decision_is_no_label(house: House, moderator: User) -> None:
    review = house.store(is_red=False)
    house.judge(review, "approve", moderator)
    assert len(collect()) == 1

    reverse(decision=Decision.objects.get(review=review), user=moderator)

    assert collect() == []


def test_reversal_after_the_recipe_does_not_change_it(house: House, moderator: User) -> None:
    review = house.store(is_red=False)
    house.judge(review, "approve", moderator)
    recipe = learning.build_current_recipe()
    labels = collect_labels(recipe)

    reverse(decision=Decision.objects.get(review=review), user=moderator)

    assert collect_labels(recipe) == labels
    assert len(labels.labels) == 1


def test_decision_of_the_policy_is_no_label(house: House) -> None:
    review = house.store(is_red=False)
    with transaction.atomic():
        record_decision(
            review=review,
            verdict=Verdict.APPROVE,
            policy_id=Policy.objects.active().pk,
            by_policy=True,
        )

    assert collect() == []


def test_blurred_approval_is_no_label(house: House) -> None:
    review = house.store(is_red=False)
    house.judge(review, "blur")
    assert Decision.objects.get().is_blurred

    assert collect() == []


@pytest.mark.parametrize(("second", "expected"), [("approve", 1), ("reject", 0)])
def test_disagreeing_second_opinion_takes_the_label_away(
    house: House, settings: Any, second: str, expected: int
) -> None:
    settings.SECOND_OPINION_PERCENT = 100
    review = house.store(is_red=False)
    one, other = house.people
    house.judge(review, "approve", one)
    review.refresh_from_db()
    data = {"categories": [WEAPONS]} if second == "reject" else {}
    house.judge(review, second, other, **data)
    assert Decision.objects.filter(second_of__isnull=False).count() == 1

    assert len(collect()) == expected


@pytest.mark.parametrize(("answer", "expected"), [("approve", 1), ("reject", 0)])
def test_answer_to_an_audit_stands_for_the_images_that_were_not_drawn(
    house: House, answer: str, expected: int
) -> None:
    review = house.store(is_red=False)
    with transaction.atomic():
        first = record_decision(
            review=review,
            verdict=Verdict.APPROVE,
            policy_id=Policy.objects.active().pk,
            by_policy=True,
        )
        Audit.objects.create(decision=first, stratum=0, probability=Decimal("0.02"))
        record_decision(
            review=review,
            verdict=Verdict(answer),
            categories=[WEAPONS] if answer == "reject" else [],
            reviewer=house.people[0],
            second_of=first,
        )

    assert [label.weight for label in collect()] == [50.0] * expected


def test_missed_image_that_a_senior_settled_stands_for_others_too(
    house: House, senior: User
) -> None:
    review = house.store(is_red=True)
    with transaction.atomic():
        first = record_decision(
            review=review,
            verdict=Verdict.APPROVE,
            policy_id=Policy.objects.active().pk,
            by_policy=True,
        )
        Audit.objects.create(decision=first, stratum=0, probability=Decimal("0.1"))
        for person, second_of in ((house.people[0], first), (senior, None)):
            record_decision(
                review=review,
                verdict=Verdict.REJECT,
                categories=[WEAPONS],
                reviewer=person,
                second_of=second_of,
            )

    [label] = collect()

    assert (label.weight, label.person) == (10.0, str(senior.pk))
    assert label.positives == {WEAPONS, "violence"}


# --- Taking decisions out ---
def test_person_can_be_left_out(house: House) -> None:
    one, other = house.people
    reviews = [house.store(is_red=False) for _ in range(2)]
    house.judge(reviews[0], "approve", one)
    house.judge(reviews[1], "approve", other)

    assert [label.person for label in collect(excluded=(one.pk,))] == [str(other.pk)]


def test_days_can_be_left_out(house: House) -> None:
    review = house.store(is_red=False)
    house.judge(review, "approve")
    now, day = timezone.now(), timedelta(days=1)

    assert len(collect(since=now - day, until=now + day)) == 1
    assert collect(until=now - day) == []
    assert collect(since=now + day) == []


# --- Examples ---
def test_images_of_one_request_or_look_share_a_group(
    house: House, make_request: Callable[..., GenerationRequest]
) -> None:
    order = make_request()
    origin = {"source": Source.TXT2IMG, "request": order}
    first = house.store(is_red=False, position=0, **origin)
    second = house.store(is_red=False, position=1, **origin)
    copy = house.store(is_red=False)
    Review.objects.filter(pk=copy.pk).update(near_duplicate_group=first.asset_id)
    for review in (first, second, copy):
        review.refresh_from_db()
        house.judge(review, "approve")

    labels = collect_labels(learning.build_current_recipe())
    examples = {example.id: example for example in build_examples(labels, WEAPONS)}

    one, two, three = (examples[str(review.asset.uuid)] for review in (first, second, copy))
    assert one.request == two.request == str(order.pk)
    assert one.look == three.look
    assert three.request == ""


def test_image_without_an_embedding_is_no_example(house: House) -> None:
    kept, lost = house.store(is_red=False), house.store(is_red=False)
    for review in (kept, lost):
        house.judge(review, "approve")
    Embedding.objects.filter(asset=lost.asset_id).update(encoder_version="another-1")

    examples = build_examples(collect_labels(learning.build_current_recipe()), WEAPONS)

    assert [example.id for example in examples] == [str(kept.asset.uuid)]


def test_drawn_negatives_stand_for_the_others(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_data, "NEGATIVES_MAX", 2)
    for _ in range(5):
        house.judge(house.store(is_red=False), "approve")

    labels = collect_labels(learning.build_current_recipe())
    drawn = build_examples(labels, WEAPONS)

    assert [example.weight for example in drawn] == [2.5, 2.5]
    assert {each.id for each in drawn} == {each.id for each in build_examples(labels, WEAPONS)}


def test_recipe_survives_json() -> None:
    recipe = learning.build_current_recipe(since=timezone.now(), excluded=(3, 4))

    assert Recipe.from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize("stored", [{}, {"embedded_until": 5}, {"embedded_until": None}])
def test_broken_recipe_raises_value_error(stored: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="recipe"):
        Recipe.from_json(stored)
