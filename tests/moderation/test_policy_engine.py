from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation import taxonomy
from moderation.policy_engine import (
    Evidence,
    Outcome,
    Rules,
    Thresholds,
    is_on_level,
    judge_nsfw,
    settle,
)

ALL = tuple(category.slug for category in taxonomy.L1)


def limits(review_at: int | None, reject_at: int | None) -> Thresholds:
    return Thresholds(
        review_at=None if review_at is None else Decimal(review_at),
        reject_at=None if reject_at is None else Decimal(reject_at),
    )


def rules(**changes: Any) -> Rules:
    fields: dict[str, Any] = {
        "name": "policy version 7",
        "per_category": {
            "explicit": limits(20, 90),
            "hate-symbols": limits(20, 90),
            "violence": limits(30, None),
            "alcohol.use": limits(60, 80),
        },
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
    settlement = settle(
        rules(), [says(("alcohol.use", 85), ("explicit.nudity", 95), ("violence.weapons", 99))]
    )

    assert settlement.outcome is Outcome.REJECT
    assert settlement.categories == ("explicit.nudity", "alcohol.use")
    assert settlement.top_category == "explicit.nudity"
    assert "policy version 7 rejects from 90" in settlement.reason


def test_a_failed_classifier_sends_to_a_person_near_the_top_even_when_others_found_nothing() -> (
    None
):
    settlement = settle(rules(), [says(), says(label="Broken", failed="It did not answer.")])

    assert settlement.outcome is Outcome.PERSON
    assert settlement.risk == 99
    assert settle(rules(), [says(failed="Silent.")]).risk == settle(rules(), []).risk == 100
    assert "Broken could not judge it: It did not answer." in settlement.reason


def test_what_a_failed_run_found_does_not_count() -> None:
    assert (
        settle(rules(), [says(("explicit.nudity", 99), failed="Half an answer.")]).outcome
        is Outcome.PERSON
    )


def test_a_sure_finding_rejects_although_another_classifier_failed() -> None:
    assert (
        settle(rules(), [says(("explicit.nudity", 99)), says(failed="Timeout.")]).outcome
        is Outcome.REJECT
    )


def test_no_classifier_at_all_means_a_person() -> None:
    assert settle(rules(), []).outcome is Outcome.PERSON


def test_what_nobody_could_look_for_means_a_person_and_is_named() -> None:
    settlement = settle(rules(), [says(covers=("explicit",))])

    assert settlement.outcome is Outcome.PERSON
    assert "Violence" in settlement.reason
    assert "Alcohol" in settlement.reason
    assert "Explicit" not in settlement.reason


def test_the_local_detectors_silence_approves_only_when_the_policy_says_so() -> None:
    local = says(label="Local", silence_counts=False, is_local=True)

    assert settle(rules(), [local]).outcome is Outcome.PERSON
    trusted = settle(rules(trusts_local_silence=True), [local])
    assert trusted.outcome is Outcome.APPROVE
    assert "trusts the local detector" in trusted.reason


def test_a_finding_of_the_local_detector_counts_whatever_its_silence_is_worth() -> None:
    found = says(("explicit.nudity", 50), silence_counts=False)

    assert settle(rules(trusts_local_silence=True), [found]).outcome is Outcome.PERSON


def test_a_policy_that_may_not_approve_leaves_everything_to_people() -> None:
    assert settle(rules(may_approve=False), [says()]).outcome is Outcome.PERSON


@pytest.mark.parametrize(
    ("score", "outcome"), [(19, Outcome.APPROVE), (20, Outcome.PERSON), (99, Outcome.PERSON)]
)
def test_a_score_without_a_category_has_limits_of_its_own(score: int, outcome: Outcome) -> None:
    settlement = settle(rules(), [says(score=Decimal(score), score_level=0)])

    assert settlement.outcome is outcome
    assert settlement.top_category == ""


def test_a_bare_flag_without_category_or_score_means_a_person() -> None:
    assert settle(rules(), [says(flagged=True)]).outcome is Outcome.PERSON
    assert settle(rules(), [says(flagged=False)]).outcome is Outcome.APPROVE


def test_the_riskiest_finding_gives_the_headline_and_the_priority() -> None:
    settlement = settle(
        rules(), [says(("violence.weapons", 44)), says(("explicit.nudity", 71), label="Other")]
    )

    assert (settlement.top_category, settlement.risk, settlement.confidence) == (
        "explicit.nudity",
        71,
        Decimal(71),
    )
    assert settlement.reason.startswith("Other found Explicit Nudity at 71")


# --- A score without a category ---
SWIMWEAR = {"swimwear-underwear": limits(50, None)}
LEVEL_0 = {"explicit": limits(20, 90), "hate-symbols": limits(20, 90)}


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("named", [(), (("swimwear-underwear.female", 97),)])
def test_swimwear_that_is_never_rejected_is_not_rejected_by_a_score_either(
    level: int, named: tuple[tuple[str, int], ...]
) -> None:
    policy = rules(per_category={**LEVEL_0, **SWIMWEAR}, nsfw_level=level)

    settlement = settle(
        policy, [says(score=Decimal(97), score_level=2), says(*named, label="Other")]
    )

    assert settlement.outcome is Outcome.PERSON
    assert settlement.risk == 97
    assert settlement.top_category == (named[0][0] if named else "")


@pytest.mark.parametrize(
    ("asked", "policys", "named", "outcome"),
    [
        (0, 0, "explicit.nudity", Outcome.REJECT),
        (0, 0, "", Outcome.PERSON),
        (0, 0, "violence.weapons", Outcome.PERSON),  # named, but nothing that the score could mean
        (1, 0, "explicit.nudity", Outcome.PERSON),
        (0, 1, "explicit.nudity", Outcome.REJECT),
        (
            1,
            1,
            "explicit.nudity",
            Outcome.PERSON,
        ),  # it may mean a kiss, which the policy does not reject
        (None, 0, "explicit.nudity", Outcome.PERSON),
    ],
)
def test_a_score_rejects_only_with_a_name_and_within_the_policys_level(
    asked: int | None, policys: int, named: str, outcome: Outcome
) -> None:
    findings = [(named, 50)] if named else []

    settlement = settle(
        rules(nsfw_level=policys),
        [says(score=Decimal(97), score_level=asked), says(*findings, label="Other")],
    )

    assert settlement.outcome is outcome
    assert settlement.categories == ((named,) if outcome is Outcome.REJECT else ())
    assert "97" in settlement.reason


def test_what_is_named_gives_the_headline_and_the_score_its_risk() -> None:
    settlement = settle(
        rules(),
        [says(score=Decimal(80), score_level=0), says(("explicit.nudity", 40), label="Other")],
    )

    assert (settlement.top_category, settlement.confidence, settlement.risk) == (
        "explicit.nudity",
        Decimal(40),
        80,
    )


def test_a_finding_without_a_confidence_has_none_anywhere() -> None:
    settlement = settle(
        rules(), [Evidence(label="Seer", covers=ALL, findings=[("explicit", None)])]
    )

    assert (settlement.outcome, settlement.top_category, settlement.confidence) == (
        Outcome.PERSON,
        "explicit",
        None,
    )


def test_imported_files_are_approved_only_when_the_policy_says_so() -> None:
    assert settle(rules(), [says()], imported=True).outcome is Outcome.PERSON
    assert settle(rules(approves_imports=True), [says()], imported=True).outcome is Outcome.APPROVE
    local = says(label="Local", silence_counts=False, is_local=True)
    assert (
        settle(rules(trusts_local_silence=True), [local], imported=True).outcome is Outcome.PERSON
    )


# --- For every policy and all evidence ---
confidences = st.decimals(0, 100, places=1)
thresholds = st.builds(
    lambda low, high: Thresholds(
        review_at=low if low is None or high is None else min(low, high), reject_at=high
    ),
    st.none() | confidences,
    st.none() | confidences,
)
some_rules = st.builds(
    Rules,
    name=st.just("policy version 7"),
    per_category=st.dictionaries(
        st.sampled_from(sorted(taxonomy.CATEGORIES)), thresholds, max_size=8
    ),
    nsfw_level=st.sampled_from(taxonomy.LEVELS),
    nsfw=thresholds,
    may_approve=st.booleans(),
    trusts_local_silence=st.booleans(),
    approves_imports=st.booleans(),
)
some_evidence = st.builds(
    Evidence,
    label=st.sampled_from(["A", "B"]),
    failed=st.sampled_from(["", "", "", "Silent."]),
    findings=st.lists(
        st.tuples(st.sampled_from(sorted(taxonomy.CATEGORIES)), st.none() | confidences), max_size=3
    ),
    score=st.none() | confidences,
    score_level=st.none() | st.sampled_from(taxonomy.LEVELS),
    flagged=st.none() | st.booleans(),
    covers=st.sets(st.sampled_from(ALL)) | st.just(set(ALL)),
    silence_counts=st.booleans(),
    is_local=st.booleans(),
)


@given(some_rules, st.lists(some_evidence, max_size=4), st.booleans())
def test_a_rejection_names_what_a_classifier_named_and_the_policy_minds(
    policy: Rules, evidence: list[Evidence], imported: bool
) -> None:
    settlement = settle(policy, evidence, imported=imported)
    heard = [item for item in evidence if not item.failed]
    named = {slug for item in heard for slug, _ in item.findings if policy.for_category(slug)}

    if settlement.outcome is Outcome.REJECT:
        assert settlement.categories
        assert set(settlement.categories) <= named
    else:
        assert settlement.categories == ()


@given(
    some_rules,
    st.lists(some_evidence, max_size=4),
    confidences,
    st.none() | st.sampled_from(taxonomy.LEVELS),
)
def test_a_score_never_approves_and_never_rejects_what_its_categories_own_rules_would_not(
    policy: Rules, evidence: list[Evidence], score: Decimal, level: int | None
) -> None:
    without = settle(policy, evidence).outcome
    scored = settle(
        policy, [*evidence, Evidence(label="Novita", score=score, score_level=level)]
    ).outcome

    if scored is Outcome.APPROVE:
        assert policy.nsfw.review_at is None or score < policy.nsfw.review_at
    if scored is Outcome.REJECT and without is not Outcome.REJECT:
        meant = taxonomy.list_level_categories(2 if level is None else level)
        own = [policy.for_category(slug) for slug in meant]
        assert (2 if level is None else level) <= policy.nsfw_level
        assert all(rule and rule.reject_at is not None and score >= rule.reject_at for rule in own)
    if without is Outcome.REJECT:
        assert scored is Outcome.REJECT


@given(some_rules, st.lists(some_evidence, max_size=3))
def test_not_nsfw_is_said_only_where_the_policy_would_approve_what_is_on_its_level(
    policy: Rules, evidence: list[Evidence]
) -> None:
    verdict = judge_nsfw(policy, evidence)
    on_level = [
        replace(
            item,
            findings=[one for one in item.findings if is_on_level(one[0], policy.nsfw_level)],
            flagged=None,
        )
        for item in evidence
    ]

    if verdict.flagged is False:
        assert settle(policy, on_level).outcome is Outcome.APPROVE
        assert all(not item.failed for item in evidence)
    assert (verdict.flagged is None) == bool(verdict.reason)


@given(some_rules, st.lists(some_evidence, max_size=4))
def test_a_number_that_nobody_gave_is_shown_nowhere(
    policy: Rules, evidence: list[Evidence]
) -> None:
    settlement = settle(policy, evidence)
    given_numbers = {
        number for item in evidence for _, number in item.findings if number is not None
    }
    given_numbers |= {item.score for item in evidence if item.score is not None}

    assert settlement.confidence is None or settlement.confidence in given_numbers
