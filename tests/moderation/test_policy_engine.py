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


def make_thresholds(review_at: int | None, reject_at: int | None) -> Thresholds:
    return Thresholds(
        review_at=None if review_at is None else Decimal(review_at),
        reject_at=None if reject_at is None else Decimal(reject_at),
    )


def make_rules(**changes: Any) -> Rules:
    fields: dict[str, Any] = {
        "name": "policy version 7",
        "per_category": {
            "explicit": make_thresholds(20, 90),
            "hate-symbols": make_thresholds(20, 90),
            "violence": make_thresholds(30, None),
            "alcohol.use": make_thresholds(60, 80),
        },
        "nsfw": make_thresholds(20, 95),
    }
    return Rules(**{**fields, **changes})


def make_evidence(*findings: tuple[str, int], **fields: Any) -> Evidence:
    values = {
        "label": "Seer",
        "covers": ALL,
        "findings": [(slug, Decimal(confidence)) for slug, confidence in findings],
    }
    return Evidence(**{**values, **fields})


def test_full_coverage_without_findings_is_approved() -> None:
    assert settle(make_rules(), [make_evidence()]).outcome is Outcome.APPROVE


@pytest.mark.parametrize(
    ("confidence", "outcome"),
    [(19, Outcome.APPROVE), (20, Outcome.PERSON), (89, Outcome.PERSON), (90, Outcome.REJECT)],
)
def test_thresholds_are_inclusive(confidence: int, outcome: Outcome) -> None:
    assert settle(make_rules(), [make_evidence(("explicit.nudity", confidence))]).outcome is outcome


def test_rule_of_l2_category_overrides_rule_of_its_l1() -> None:
    both = make_rules(
        per_category={
            "explicit": make_thresholds(20, 90),
            "explicit.sex-toys": make_thresholds(70, None),
        }
    )

    assert settle(both, [make_evidence(("explicit.sex-toys", 60))]).outcome is Outcome.APPROVE
    assert settle(both, [make_evidence(("explicit.nudity", 60))]).outcome is Outcome.PERSON


def test_category_without_rule_is_ignored() -> None:
    assert settle(make_rules(), [make_evidence(("gambling", 99))]).outcome is Outcome.APPROVE


def test_rejection_names_exactly_the_categories_above_their_limit() -> None:
    settlement = settle(
        make_rules(),
        [make_evidence(("alcohol.use", 85), ("explicit.nudity", 95), ("violence.weapons", 99))],
    )

    assert settlement.outcome is Outcome.REJECT
    assert settlement.categories == ("explicit.nudity", "alcohol.use")
    assert settlement.top_category == "explicit.nudity"
    assert "policy version 7 rejects from 90" in settlement.reason


def test_failed_classifier_asks_a_person_with_risk_99() -> None:
    settlement = settle(
        make_rules(), [make_evidence(), make_evidence(label="Broken", failed="It did not answer.")]
    )

    assert settlement.outcome is Outcome.PERSON
    assert settlement.risk == 99
    assert (
        settle(make_rules(), [make_evidence(failed="Silent.")]).risk
        == settle(make_rules(), []).risk
        == 100
    )
    assert "Broken could not judge it: It did not answer." in settlement.reason


def test_findings_of_failed_classifier_are_ignored() -> None:
    assert (
        settle(
            make_rules(), [make_evidence(("explicit.nudity", 99), failed="Half an answer.")]
        ).outcome
        is Outcome.PERSON
    )


def test_sure_finding_rejects_despite_another_failed_classifier() -> None:
    assert (
        settle(
            make_rules(), [make_evidence(("explicit.nudity", 99)), make_evidence(failed="Timeout.")]
        ).outcome
        is Outcome.REJECT
    )


def test_without_classifiers_a_person_decides() -> None:
    assert settle(make_rules(), []).outcome is Outcome.PERSON


def test_uncovered_categories_ask_a_person_and_are_named() -> None:
    settlement = settle(make_rules(), [make_evidence(covers=("explicit",))])

    assert settlement.outcome is Outcome.PERSON
    assert "Violence" in settlement.reason
    assert "Alcohol" in settlement.reason
    assert "Explicit" not in settlement.reason


def test_clean_local_scan_approves_only_if_policy_trusts_it() -> None:
    local = make_evidence(label="Local", silence_counts=False, is_local=True)

    assert settle(make_rules(), [local]).outcome is Outcome.PERSON
    trusted = settle(make_rules(trusts_local_silence=True), [local])
    assert trusted.outcome is Outcome.APPROVE
    assert "counts a clean scan of the local detector" in trusted.reason


def test_finding_of_local_detector_asks_a_person() -> None:
    found = make_evidence(("explicit.nudity", 50), silence_counts=False)

    assert settle(make_rules(trusts_local_silence=True), [found]).outcome is Outcome.PERSON


def test_policy_without_approval_asks_a_person() -> None:
    assert settle(make_rules(may_approve=False), [make_evidence()]).outcome is Outcome.PERSON


@pytest.mark.parametrize(
    ("score", "outcome"), [(19, Outcome.APPROVE), (20, Outcome.PERSON), (99, Outcome.PERSON)]
)
def test_score_without_category_uses_nsfw_thresholds(score: int, outcome: Outcome) -> None:
    settlement = settle(make_rules(), [make_evidence(score=Decimal(score), score_level=0)])

    assert settlement.outcome is outcome
    assert settlement.top_category == ""


def test_flag_without_category_or_score_asks_a_person() -> None:
    assert settle(make_rules(), [make_evidence(flagged=True)]).outcome is Outcome.PERSON
    assert settle(make_rules(), [make_evidence(flagged=False)]).outcome is Outcome.APPROVE


def test_message_of_a_flag_asks_a_person_beside_a_finding_below_its_limit() -> None:
    faint = make_evidence(("violence.weapons", 1), flagged=True)
    assert settle(make_rules(), [faint]).outcome is Outcome.APPROVE
    unknown = replace(faint, note="the taxonomy has no category for “Catapults”.")
    settlement = settle(make_rules(), [unknown])
    assert settlement.outcome is Outcome.PERSON
    assert "Catapults" in settlement.reason


def test_riskiest_finding_sets_top_category_and_risk() -> None:
    settlement = settle(
        make_rules(),
        [
            make_evidence(("violence.weapons", 44)),
            make_evidence(("explicit.nudity", 71), label="Other"),
        ],
    )

    assert (settlement.top_category, settlement.risk, settlement.confidence) == (
        "explicit.nudity",
        71,
        Decimal(71),
    )
    assert settlement.reason.startswith("Other found Explicit Nudity at 71")


# --- A score without a category ---
SWIMWEAR = {"swimwear-underwear": make_thresholds(50, None)}
LEVEL_0 = {"explicit": make_thresholds(20, 90), "hate-symbols": make_thresholds(20, 90)}


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("named", [(), (("swimwear-underwear.female", 97),)])
def test_score_does_not_reject_category_without_reject_threshold(
    level: int, named: tuple[tuple[str, int], ...]
) -> None:
    policy = make_rules(per_category={**LEVEL_0, **SWIMWEAR}, nsfw_level=level)

    settlement = settle(
        policy,
        [make_evidence(score=Decimal(97), score_level=2), make_evidence(*named, label="Other")],
    )

    assert settlement.outcome is Outcome.PERSON
    assert settlement.risk == 97
    assert settlement.top_category == (named[0][0] if named else "")


@pytest.mark.parametrize(
    ("asked", "policys", "named", "outcome"),
    [
        (0, 0, "explicit.nudity", Outcome.REJECT),
        (0, 0, "", Outcome.PERSON),
        (0, 0, "violence.weapons", Outcome.PERSON),  # the score does not cover this category
        (1, 0, "explicit.nudity", Outcome.PERSON),
        (0, 1, "explicit.nudity", Outcome.REJECT),
        # The score may mean a kiss, which the policy does not reject.
        (1, 1, "explicit.nudity", Outcome.PERSON),
        (None, 0, "explicit.nudity", Outcome.PERSON),
    ],
)
def test_score_rejects_only_with_named_category_within_policy_level(
    asked: int | None, policys: int, named: str, outcome: Outcome
) -> None:
    findings = [(named, 50)] if named else []

    settlement = settle(
        make_rules(nsfw_level=policys),
        [
            make_evidence(score=Decimal(97), score_level=asked),
            make_evidence(*findings, label="Other"),
        ],
    )

    assert settlement.outcome is outcome
    assert settlement.categories == ((named,) if outcome is Outcome.REJECT else ())
    assert "97" in settlement.reason


def test_named_finding_sets_top_category_and_score_sets_risk() -> None:
    settlement = settle(
        make_rules(),
        [
            make_evidence(score=Decimal(80), score_level=0),
            make_evidence(("explicit.nudity", 40), label="Other"),
        ],
    )

    assert (settlement.top_category, settlement.confidence, settlement.risk) == (
        "explicit.nudity",
        Decimal(40),
        80,
    )


def test_finding_without_confidence_asks_a_person_without_confidence() -> None:
    settlement = settle(
        make_rules(), [Evidence(label="Seer", covers=ALL, findings=[("explicit", None)])]
    )

    assert (settlement.outcome, settlement.top_category, settlement.confidence) == (
        Outcome.PERSON,
        "explicit",
        None,
    )


def test_imports_are_approved_only_if_policy_allows_it() -> None:
    assert settle(make_rules(), [make_evidence()], imported=True).outcome is Outcome.PERSON
    assert (
        settle(make_rules(approves_imports=True), [make_evidence()], imported=True).outcome
        is Outcome.APPROVE
    )
    local = make_evidence(label="Local", silence_counts=False, is_local=True)
    assert (
        settle(make_rules(trusts_local_silence=True), [local], imported=True).outcome
        is Outcome.PERSON
    )


# --- Properties of all policies and evidence ---
confidences = st.decimals(0, 100, places=1)
thresholds = st.builds(
    lambda low, high: Thresholds(
        review_at=low if low is None or high is None else min(low, high), reject_at=high
    ),
    st.none() | confidences,
    st.none() | confidences,
)
any_rules = st.builds(
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
any_evidence = st.builds(
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


@given(any_rules, st.lists(any_evidence, max_size=4), st.booleans())
def test_rejection_names_only_found_categories_with_a_rule(
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
    any_rules,
    st.lists(any_evidence, max_size=4),
    confidences,
    st.none() | st.sampled_from(taxonomy.LEVELS),
)
def test_score_never_exceeds_the_rules_of_its_categories(
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


@given(any_rules, st.lists(any_evidence, max_size=3))
def test_not_nsfw_implies_policy_approval_on_its_level(
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


@given(any_rules, st.lists(any_evidence, max_size=4))
def test_confidence_is_always_one_of_the_given_numbers(
    policy: Rules, evidence: list[Evidence]
) -> None:
    settlement = settle(policy, evidence)
    given_numbers = {
        number for item in evidence for _, number in item.findings if number is not None
    }
    given_numbers |= {item.score for item in evidence if item.score is not None}

    assert settlement.confidence is None or settlement.confidence in given_numbers
