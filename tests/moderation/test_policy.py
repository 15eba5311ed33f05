from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from moderation import taxonomy
from moderation.policy import Evidence, Outcome, Rules, Thresholds, settle

ALL = tuple(category.slug for category in taxonomy.L1)


def limits(review_at: int | None, reject_at: int | None) -> Thresholds:
    return Thresholds(
        review_at=None if review_at is None else Decimal(review_at),
        reject_at=None if reject_at is None else Decimal(reject_at),
    )


def rules(**changes: Any) -> Rules:
    fields: dict[str, Any] = {
        "name": "policy version 7",
        "per_category": {"explicit": limits(20, 90), "violence": limits(30, None), "alcohol.use": limits(60, 80)},
        "nsfw": limits(20, 95),
    }
    return Rules(**{**fields, **changes})


def says(*findings: tuple[str, int], **fields: Any) -> Evidence:
    values = {
        "label": "Seer",
        "covers": ALL,
        "findings": [(slug, Decimal(confidence)) for slug, confidence in findings],
    }
    return Evidence(**{**values, **fields})


def test_nothing_found_by_one_who_sees_everything_is_approved() -> None:
    assert settle(rules(), [says()]).outcome is Outcome.APPROVE


@pytest.mark.parametrize(
    ("confidence", "outcome"),
    [(19, Outcome.APPROVE), (20, Outcome.PERSON), (89, Outcome.PERSON), (90, Outcome.REJECT)],
)
def test_thresholds_include_their_own_value(confidence: int, outcome: Outcome) -> None:
    assert settle(rules(), [says(("explicit.nudity", confidence))]).outcome is outcome


def test_an_l2_rule_goes_before_the_rule_of_its_l1() -> None:
    both = rules(per_category={"explicit": limits(20, 90), "explicit.sex-toys": limits(70, None)})

    assert settle(both, [says(("explicit.sex-toys", 60))]).outcome is Outcome.APPROVE
    assert settle(both, [says(("explicit.nudity", 60))]).outcome is Outcome.PERSON


def test_a_category_without_a_rule_is_not_minded() -> None:
    assert settle(rules(), [says(("gambling", 99))]).outcome is Outcome.APPROVE


def test_a_rejection_names_every_category_that_reached_its_limit_and_only_those() -> None:
    settlement = settle(rules(), [says(("alcohol.use", 85), ("explicit.nudity", 95), ("violence.weapons", 99))])

    assert settlement.outcome is Outcome.REJECT
    assert settlement.categories == ("explicit.nudity", "alcohol.use")
    assert settlement.headline == "explicit.nudity"
    assert "policy version 7 rejects from 90" in settlement.why


def test_a_failed_classifier_sends_to_a_person_first_in_the_queue_even_when_others_found_nothing() -> None:
    settlement = settle(rules(), [says(), says(label="Broken", failed="It did not answer.")])

    assert settlement.outcome is Outcome.PERSON
    assert settlement.priority == 100
    assert "Broken could not judge it: It did not answer." in settlement.why


def test_what_a_failed_run_found_does_not_count() -> None:
    assert settle(rules(), [says(("explicit.nudity", 99), failed="Half an answer.")]).outcome is Outcome.PERSON


def test_a_sure_finding_rejects_although_another_classifier_failed() -> None:
    assert settle(rules(), [says(("explicit.nudity", 99)), says(failed="Timeout.")]).outcome is Outcome.REJECT


def test_no_classifier_at_all_means_a_person() -> None:
    assert settle(rules(), []).outcome is Outcome.PERSON


def test_what_nobody_could_look_for_means_a_person_and_is_named() -> None:
    settlement = settle(rules(), [says(covers=("explicit",))])

    assert settlement.outcome is Outcome.PERSON
    assert "Violence" in settlement.why
    assert "Alcohol" in settlement.why
    assert "Explicit" not in settlement.why


def test_the_local_detectors_silence_approves_only_when_the_policy_says_so() -> None:
    local = says(label="Local", silence_counts=False, is_local=True)

    assert settle(rules(), [local]).outcome is Outcome.PERSON
    trusted = settle(rules(trusts_local_silence=True), [local])
    assert trusted.outcome is Outcome.APPROVE
    assert "trusts the local detector" in trusted.why


def test_a_finding_of_the_local_detector_counts_whatever_its_silence_is_worth() -> None:
    found = says(("explicit.nudity", 50), silence_counts=False)

    assert settle(rules(trusts_local_silence=True), [found]).outcome is Outcome.PERSON


def test_a_policy_that_may_not_approve_leaves_everything_to_people() -> None:
    assert settle(rules(may_approve=False), [says()]).outcome is Outcome.PERSON


@pytest.mark.parametrize(("score", "outcome"), [(19, Outcome.APPROVE), (20, Outcome.PERSON), (95, Outcome.REJECT)])
def test_a_score_without_a_category_has_limits_of_its_own(score: int, outcome: Outcome) -> None:
    settlement = settle(rules(), [says(score=Decimal(score))])

    assert settlement.outcome is outcome
    assert settlement.headline == ""


def test_a_bare_flag_without_category_or_score_means_a_person() -> None:
    assert settle(rules(), [says(flagged=True)]).outcome is Outcome.PERSON
    assert settle(rules(), [says(flagged=False)]).outcome is Outcome.APPROVE


def test_the_riskiest_finding_gives_the_headline_and_the_priority() -> None:
    settlement = settle(rules(), [says(("violence.weapons", 44)), says(("explicit.nudity", 71), label="Other")])

    assert (settlement.headline, settlement.priority, settlement.confidence) == ("explicit.nudity", 71, Decimal(71))
    assert settlement.why.startswith("Other found Explicit Nudity at 71")
