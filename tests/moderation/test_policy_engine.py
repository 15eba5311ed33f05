from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from moderation import taxonomy
from moderation.classifiers.base import Coverage
from moderation.matches import Match, Origin
from moderation.policy_engine import (
    PARTLY_JUDGED_RISK,
    UNJUDGED_RISK,
    Evidence,
    Outcome,
    Rules,
    Settlement,
    Thresholds,
    is_on_level,
    judge_nsfw,
    settle,
)

ALL = {category.slug: "full" for category in taxonomy.L1}
LOCAL_COVERS = {"explicit": "partial", "swimwear-underwear": "heuristic"}


NEVER = Thresholds(review_at=None, reject_at=None)


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


def make_blurring(**changes: Any) -> Rules:
    """Return rules that blur swimwear from 60 and alcohol from 50."""
    return make_rules(
        per_category={
            "explicit": make_thresholds(20, 90),
            "swimwear-underwear": Thresholds(
                review_at=Decimal(40), blur_at=Decimal(60), reject_at=Decimal(95)
            ),
            "alcohol": Thresholds(review_at=None, blur_at=Decimal(50), reject_at=None),
        },
        **changes,
    )


def make_evidence(*findings: tuple[str, int], **fields: Any) -> Evidence:
    values = {
        "label": "Seer",
        "covers": ALL,
        "findings": [(slug, Decimal(confidence)) for slug, confidence in findings],
    }
    return Evidence(**{**values, **fields})


def test_silence_counts_only_up_to_the_misses_that_a_policy_allows() -> None:
    policy = make_rules(earned_trusts={("seer", "violence"): Decimal(2)})

    def settle_with(bounds: dict[str, Decimal], **fields: Any) -> Settlement:
        evidence = make_evidence(classifier="seer", miss_bounds=bounds, **fields)
        return settle(policy, [evidence])

    earned = settle_with({"violence": Decimal(2)})
    assert earned.outcome is Outcome.APPROVE
    assert "its misses of Violence are up to 2.00 %, 2.00 % allowed" in earned.reason
    for doubted in (
        settle_with({"violence": Decimal("2.01")}),
        settle_with({"explicit": Decimal(0)}),
        settle_with({}),
    ):
        assert doubted.outcome is Outcome.PERSON
        assert "has not earned trust: its misses of Violence" in doubted.reason


def test_earned_trust_grants_what_nothing_else_trusts_and_nothing_more() -> None:
    evidence = make_evidence(
        classifier="seer", silence_counts=False, miss_bounds={"violence": Decimal(1)}
    )
    earned = {("seer", "violence"): Decimal(2)}
    violence = {"violence": make_thresholds(30, None)}

    enough = settle(make_rules(per_category=violence, earned_trusts=earned), [evidence])
    too_few = settle(make_rules(earned_trusts=earned), [evidence])
    partial = replace(evidence, covers={"violence": "partial"})
    strict = make_rules(per_category=violence, earned_trusts=earned, requires_full_coverage=True)

    assert enough.outcome is Outcome.APPROVE
    assert too_few.outcome is Outcome.PERSON
    assert settle(strict, [partial]).outcome is Outcome.PERSON


def test_failed_look_up_leaves_an_image_judged_in_part() -> None:
    lookup = Evidence(label="Banks", failed="It was asleep.", is_lookup=True)

    judged = settle(make_rules(), [make_evidence(), lookup])
    alone = settle(make_rules(), [lookup])

    assert (judged.outcome, judged.risk) == (Outcome.PERSON, PARTLY_JUDGED_RISK)
    assert (alone.outcome, alone.risk) == (Outcome.PERSON, UNJUDGED_RISK)


def test_full_coverage_without_findings_is_approved() -> None:
    assert settle(make_rules(), [make_evidence()]).outcome is Outcome.APPROVE


@pytest.mark.parametrize(
    ("confidence", "outcome"),
    [(19, Outcome.APPROVE), (20, Outcome.PERSON), (89, Outcome.PERSON), (90, Outcome.REJECT)],
)
def test_thresholds_are_inclusive(confidence: int, outcome: Outcome) -> None:
    assert settle(make_rules(), [make_evidence(("explicit.nudity", confidence))]).outcome is outcome


@pytest.mark.parametrize(
    ("category", "confidence", "outcome"),
    [
        ("explicit", 19, Outcome.APPROVE),
        ("explicit", 100, Outcome.PERSON),
        ("alcohol", 49, Outcome.APPROVE),
        ("alcohol", 50, Outcome.PERSON),
    ],
)
def test_heuristic_finding_asks_a_person_from_the_lowest_limit_on(
    category: str, confidence: int, outcome: Outcome
) -> None:
    evidence = make_evidence((category, confidence), covers=dict.fromkeys(ALL, "heuristic"))

    assert settle(make_blurring(), [evidence]).outcome is outcome


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
    settlement = settle(make_rules(), [make_evidence(covers={"explicit": "full"})])

    assert settlement.outcome is Outcome.PERSON
    assert "Violence" in settlement.reason
    assert "Alcohol" in settlement.reason
    assert "Explicit" not in settlement.reason


def make_local(*findings: tuple[str, int], **fields: Any) -> Evidence:
    """Return evidence of the local detector: partial coverage, not trusted by itself."""
    values = {"label": "Local", "classifier": "local", "silence_counts": False}
    return make_evidence(*findings, **{"covers": LOCAL_COVERS, **values, **fields})


TRUSTING = {"trusted_silences": {"local"}}
UNCHECKED = {"hate-symbols", "violence", "alcohol"}


def test_trusted_silence_counts_only_for_what_the_classifier_covers() -> None:
    rules = make_rules(**TRUSTING)

    partial = settle(rules, [make_local()])
    complete = settle(rules, [make_local(covers=dict.fromkeys(ALL, "heuristic"))])

    assert settle(make_rules(), [make_local()]).outcome is Outcome.PERSON
    assert partial.outcome is Outcome.PERSON
    assert partial.reason == (
        "Local found nothing, but no classifier checked: Violence, Alcohol, Hate Symbols."
    )
    assert complete.outcome is Outcome.APPROVE
    assert complete.reason.endswith(" It counts “nothing found” of Local.")


def test_accepted_unchecked_categories_are_named_in_the_approval() -> None:
    settlement = settle(make_rules(**TRUSTING, accepted_unchecked=UNCHECKED), [make_local()])

    assert settlement.outcome is Outcome.APPROVE
    assert settlement.reason.endswith(" It accepts unchecked: Violence, Alcohol, Hate Symbols.")


@pytest.mark.parametrize("missing", sorted(UNCHECKED))
def test_each_watched_category_must_be_accepted(missing: str) -> None:
    rules = make_rules(**TRUSTING, accepted_unchecked=UNCHECKED - {missing})

    settlement = settle(rules, [make_local()])

    assert settlement.outcome is Outcome.PERSON
    assert settlement.reason.endswith(f"no classifier checked: {taxonomy.join_names([missing])}.")


def test_unchecked_categories_are_accepted_only_where_a_trusted_classifier_judged() -> None:
    score = make_evidence(label="Novita", covers={"explicit": "full"}, score=Decimal(1))

    without_names = settle(make_rules(accepted_unchecked=UNCHECKED), [score])
    with_names = settle(make_rules(**TRUSTING, accepted_unchecked=UNCHECKED), [score])

    assert without_names.outcome is Outcome.APPROVE
    assert with_names.outcome is Outcome.PERSON


@pytest.mark.parametrize("coverage", ["partial", "heuristic"])
def test_policy_that_requires_full_coverage_ignores_lesser_coverage(coverage: str) -> None:
    covers = {**ALL, "violence": coverage}

    loose = settle(make_rules(), [make_evidence(covers=covers)])
    strict = settle(make_rules(requires_full_coverage=True), [make_evidence(covers=covers)])

    assert loose.outcome is Outcome.APPROVE
    assert strict.outcome is Outcome.PERSON
    assert strict.reason == "Seer found nothing, but no classifier covers fully: Violence."


def test_full_coverage_is_called_as_classifiers_call_it() -> None:
    assert {Coverage(coverage) for coverage in ALL.values()} == {Coverage.FULL}


def test_finding_of_local_detector_asks_a_person() -> None:
    settlement = settle(make_rules(**TRUSTING), [make_local(("explicit.nudity", 50))])

    assert settlement.outcome is Outcome.PERSON


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
        # Read at the policy's level: nothing was named that it may mean instead.
        (1, 0, "explicit.nudity", Outcome.REJECT),
        (2, 0, "hate-symbols.nazi", Outcome.REJECT),
        (2, 0, "swimwear-underwear.female", Outcome.PERSON),
        (0, 1, "explicit.nudity", Outcome.REJECT),
        # The score may mean a kiss, which the policy does not reject.
        (1, 1, "explicit.nudity", Outcome.PERSON),
        (None, 0, "explicit.nudity", Outcome.REJECT),
    ],
)
def test_score_rejects_only_with_named_category_of_both_levels(
    asked: int | None, policys: int, named: str, outcome: Outcome
) -> None:
    findings = [(named, 50)] if named else []

    settlement = settle(
        make_rules(nsfw_level=policys),
        [
            make_evidence(score=Decimal(97), score_level=asked),
            make_evidence(*findings, label="Other", covers={}),
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


@pytest.mark.parametrize(
    ("ranks", "risk"),
    [({}, 90), ({"violence": 97}, 97), ({"violence": 12}, 12), ({"gambling": 9}, 90)],
)
def test_rank_of_a_finding_without_confidence_changes_only_the_risk(
    ranks: dict[str, int], risk: int
) -> None:
    rules = make_rules(per_category={"violence": make_thresholds(30, 35), "explicit": NEVER})
    item = make_evidence(
        findings=[("violence", None)],
        flagged=True,
        note="it is unsure.",
        ranks={slug: Decimal(rank) for slug, rank in ranks.items()},
    )

    settlement = settle(rules, [item])

    assert settlement.risk == risk
    assert replace(settlement, risk=0) == replace(settle(rules, [replace(item, ranks={})]), risk=0)
    assert (settlement.outcome, settlement.confidence) == (Outcome.PERSON, None)
    scored = settle(rules, [item, make_evidence(("violence", 31), label="Other")])
    assert (scored.outcome, scored.risk) == (Outcome.PERSON, max(risk, 31))


def test_imports_are_approved_only_if_policy_allows_it() -> None:
    assert settle(make_rules(), [make_evidence()], imported=True).outcome is Outcome.PERSON
    assert (
        settle(make_rules(approves_imports=True), [make_evidence()], imported=True).outcome
        is Outcome.APPROVE
    )
    trusting = make_rules(**TRUSTING, accepted_unchecked=UNCHECKED)
    assert settle(trusting, [make_local()], imported=True).outcome is Outcome.PERSON


# --- Delivered blurred ---
@pytest.mark.parametrize(
    ("confidence", "outcome"),
    [
        (39, Outcome.APPROVE),
        (40, Outcome.PERSON),
        (59, Outcome.PERSON),
        (60, Outcome.BLUR),
        (94, Outcome.BLUR),
        (95, Outcome.REJECT),
    ],
)
def test_each_limit_of_a_rule_begins_its_outcome(confidence: int, outcome: Outcome) -> None:
    evidence = [make_evidence(("swimwear-underwear.female", confidence))]

    assert settle(make_blurring(), evidence).outcome is outcome


def test_blurred_image_names_its_categories_and_limit() -> None:
    found = [("swimwear-underwear.female", 70), ("alcohol.use", 55), ("explicit.nudity", 3)]

    settlement = settle(make_blurring(), [make_evidence(*found)])

    assert settlement.outcome is Outcome.BLUR
    assert settlement.categories == ("swimwear-underwear.female", "alcohol.use")
    assert (settlement.top_category, settlement.confidence) == (found[0][0], Decimal(70))
    assert settlement.reason == (
        "Seer found Female Swimwear or Underwear at 70; policy version 7 delivers it blurred from"
        " 60. Seer found nothing else that policy version 7 acts on."
    )


@pytest.mark.parametrize(
    "other",
    [
        make_evidence(("explicit.nudity", 50), label="Other"),
        make_evidence(("swimwear-underwear.male", 50), label="Other"),
        make_evidence(label="Other", findings=[("alcohol.use", None)]),
        make_evidence(label="Other", flagged=True),
        make_evidence(label="Other", failed="Silent."),
        make_evidence(label="Other", score=Decimal(50), covers={}),
    ],
)
def test_anything_for_a_person_outweighs_a_blurred_category(other: Evidence) -> None:
    clear = make_evidence(("alcohol.use", 70))

    assert settle(make_blurring(), [clear]).outcome is Outcome.BLUR
    assert settle(make_blurring(), [clear, other]).outcome is Outcome.PERSON


@pytest.mark.parametrize(
    ("changes", "fields", "reason"),
    [
        ({"may_approve": False}, {}, "policy version 7 leaves every approval to people."),
        ({}, {"covers": dict.fromkeys(LOCAL_COVERS, "partial")}, "no classifier checked: Alcohol."),
    ],
)
def test_blurring_needs_all_that_an_approval_needs(
    changes: dict[str, Any], fields: dict[str, Any], reason: str
) -> None:
    evidence = [make_evidence(("swimwear-underwear.female", 70), **fields)]

    settlement = settle(make_blurring(**changes), evidence)

    assert (settlement.outcome, settlement.risk) == (Outcome.PERSON, 70)
    assert settlement.reason.startswith("Seer found Female Swimwear or Underwear at 70")
    assert settlement.reason.endswith(reason)


def test_imported_file_is_blurred_only_if_the_policy_approves_imports() -> None:
    evidence = [make_evidence(("alcohol.use", 70))]

    assert settle(make_blurring(), evidence, imported=True).outcome is Outcome.PERSON
    trusting = make_blurring(approves_imports=True)
    assert settle(trusting, evidence, imported=True).outcome is Outcome.BLUR


def make_known(*, is_blurred: bool) -> Evidence:
    match = Match(
        origin=Origin.APPROVED,
        text="Same file as 1",
        categories=("alcohol.use",) if is_blurred else (),
        is_blurred=is_blurred,
    )
    return Evidence(label="Hashes", matches=[match], is_lookup=True)


def test_file_that_was_approved_blurred_is_approved_blurred_again() -> None:
    reusing = make_blurring(reuses_approvals=True)
    sharp, blurred = make_known(is_blurred=False), make_known(is_blurred=True)

    assert settle(reusing, [sharp]).outcome is Outcome.APPROVE
    assert settle(reusing, [blurred]).outcome is Outcome.BLUR
    assert settle(reusing, [sharp, blurred]).outcome is Outcome.BLUR
    assert settle(reusing, [sharp, make_evidence(("alcohol.use", 70))]).outcome is Outcome.BLUR
    assert settle(make_blurring(), [blurred]).outcome is Outcome.PERSON


def test_blurred_category_counts_as_nsfw_on_the_policys_level() -> None:
    evidence = [make_evidence(("swimwear-underwear.female", 70))]

    assert judge_nsfw(make_blurring(nsfw_level=2), evidence).flagged is True


# --- Properties of all policies and evidence ---
# The time that hypothesis needs to make an example says nothing about the engine.
on_any_machine = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
confidences = st.decimals(0, 100, places=1)
LIMITS = ("review_at", "blur_at", "reject_at")
thresholds = st.builds(
    lambda low, high: Thresholds(
        review_at=low if low is None or high is None else min(low, high), reject_at=high
    ),
    st.none() | confidences,
    st.none() | confidences,
)
rule_thresholds = st.builds(
    lambda limits, kept: Thresholds(
        **{
            name: limit if name in kept else None
            for name, limit in zip(LIMITS, sorted(limits), strict=True)
        }
    ),
    st.lists(confidences, min_size=3, max_size=3),
    st.sets(st.sampled_from(LIMITS)),
)
any_rules = st.builds(
    Rules,
    name=st.just("policy version 7"),
    per_category=st.dictionaries(
        st.sampled_from(sorted(taxonomy.CATEGORIES)), rule_thresholds, max_size=8
    ),
    nsfw_level=st.sampled_from(taxonomy.LEVELS),
    nsfw=thresholds,
    may_approve=st.booleans(),
    trusted_silences=st.sets(st.sampled_from(["a", "b"])),
    accepted_unchecked=st.sets(st.sampled_from(sorted(ALL))) | st.just(set(ALL)),
    requires_full_coverage=st.booleans(),
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
    covers=st.dictionaries(
        st.sampled_from(sorted(ALL)), st.sampled_from(list(Coverage)), max_size=4
    )
    | st.just(ALL),
    classifier=st.sampled_from(["a", "b", "c"]),
    silence_counts=st.booleans(),
)


@on_any_machine
@given(any_rules, st.lists(any_evidence, max_size=4), st.booleans())
def test_rejection_or_blur_names_only_found_categories_with_a_rule(
    policy: Rules, evidence: list[Evidence], imported: bool
) -> None:
    settlement = settle(policy, evidence, imported=imported)
    heard = [item for item in evidence if not item.failed]
    named = {slug for item in heard for slug, _ in item.findings if policy.for_category(slug)}

    if settlement.outcome in (Outcome.REJECT, Outcome.BLUR):
        assert settlement.categories
        assert set(settlement.categories) <= named
    else:
        assert settlement.categories == ()


@on_any_machine
@given(any_rules, st.lists(any_evidence, max_size=3))
def test_heuristic_findings_alone_neither_reject_nor_blur(
    policy: Rules, evidence: list[Evidence]
) -> None:
    heuristic = [replace(item, covers=dict.fromkeys(ALL, "heuristic")) for item in evidence]

    settlement = settle(policy, [replace(item, score=None) for item in heuristic])

    assert settlement.outcome in (Outcome.APPROVE, Outcome.PERSON)


def is_explanation(policy: Rules, finding: tuple[str, Decimal | None], level: int) -> bool:
    slug, confidence = finding
    least = policy.nsfw.review_at or 0
    return is_on_level(slug, level) and (confidence is None or confidence >= least)


@on_any_machine
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
    asked = 2 if level is None else level
    found = [one for item in evidence if not item.failed for one in item.findings]
    named = [one for one in found if is_explanation(policy, one, asked)]

    if scored is Outcome.APPROVE and not named:
        assert policy.nsfw.review_at is None or score < policy.nsfw.review_at
    if scored is Outcome.REJECT and without is not Outcome.REJECT:
        meant = taxonomy.list_level_categories(min(asked, policy.nsfw_level))
        own = [policy.for_category(slug) for slug in meant]
        assert all(rule and rule.reject_at is not None and score >= rule.reject_at for rule in own)
        if asked > policy.nsfw_level:
            assert all(is_on_level(slug, policy.nsfw_level) for slug, _ in named)
    if without is Outcome.REJECT:
        assert scored is Outcome.REJECT


@on_any_machine
@given(any_rules, st.lists(any_evidence, max_size=3))
def test_not_nsfw_implies_policy_approval_on_its_level(
    policy: Rules, evidence: list[Evidence]
) -> None:
    verdict = judge_nsfw(policy, evidence)
    on_level = replace(
        policy,
        per_category={
            slug: rule if is_on_level(slug, policy.nsfw_level) else make_thresholds(None, None)
            for slug, rule in policy.per_category.items()
        },
    )
    numbered = [
        replace(item, findings=[one for one in item.findings if one[1] is not None], flagged=None)
        for item in evidence
    ]

    if verdict.flagged is False:
        if numbered == [replace(item, flagged=None) for item in evidence]:
            assert settle(on_level, numbered).outcome is Outcome.APPROVE
        assert all(not item.failed for item in evidence)
    assert (verdict.flagged is None) == bool(verdict.reason)


MILDNESS = (Outcome.REJECT, Outcome.PERSON, Outcome.BLUR, Outcome.APPROVE)
any_finding = st.tuples(st.sampled_from(sorted(taxonomy.CATEGORIES)), confidences)


def list_score_levels(evidence: list[Evidence]) -> list[int]:
    return [
        2 if item.score_level is None else item.score_level
        for item in evidence
        if item.score is not None and not item.failed
    ]


def list_limits(
    policy: Rules, evidence: list[Evidence]
) -> list[tuple[Thresholds | None, Decimal | None]]:
    """Return the rule and the number of each finding."""
    return [
        (policy.for_category(slug), number)
        for item in evidence
        if not item.failed
        for slug, number in item.findings
    ]


def is_blurred(rule: Thresholds | None, number: Decimal | None) -> bool:
    return bool(rule and number is not None and rule.blur_at is not None and number >= rule.blur_at)


def is_milder(later: Outcome, earlier: Outcome) -> bool:
    return MILDNESS.index(later) > MILDNESS.index(earlier)


@on_any_machine
@given(any_rules, st.lists(any_evidence, min_size=1, max_size=3), any_finding, st.data())
def test_more_findings_are_milder_only_if_they_explain_a_score(
    policy: Rules, evidence: list[Evidence], finding: tuple[str, Decimal], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(evidence) - 1))
    # A verdict with findings refers to them, so a finding would replace it.
    chosen = replace(evidence[place], flagged=None)
    before = [*evidence[:place], chosen, *evidence[place + 1 :]]
    more = replace(chosen, findings=[*chosen.findings, finding])

    earlier = settle(policy, before).outcome
    later = settle(policy, [*evidence[:place], more, *evidence[place + 1 :]]).outcome

    explains = any(is_explanation(policy, finding, level) for level in list_score_levels(before))
    assert explains or not is_milder(later, earlier)
    assert (earlier, later) != (Outcome.REJECT, Outcome.APPROVE)


@on_any_machine
@given(any_rules, st.lists(any_evidence, min_size=1, max_size=3), confidences, st.data())
def test_higher_numbers_are_milder_only_if_they_explain_a_score(
    policy: Rules, evidence: list[Evidence], higher: Decimal, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(evidence) - 1))
    raised = replace(
        evidence[place],
        findings=[
            (slug, None if number is None else max(number, higher))
            for slug, number in evidence[place].findings
        ],
        score=None if evidence[place].score is None else max(evidence[place].score, higher),
    )

    earlier = settle(policy, evidence).outcome
    later = settle(policy, [*evidence[:place], raised, *evidence[place + 1 :]]).outcome

    explains = any(
        is_explanation(policy, finding, level)
        for level in list_score_levels(evidence)
        for finding in raised.findings
    )
    is_blur = (earlier, later) == (Outcome.PERSON, Outcome.BLUR)
    enters = any(is_blurred(*one) for one in list_limits(policy, [raised]))
    assert explains or not is_milder(later, earlier) or (is_blur and enters)
    assert (earlier, later) != (Outcome.REJECT, Outcome.APPROVE)


@on_any_machine
@given(any_rules, st.lists(any_evidence, max_size=4), st.booleans(), st.randoms())
def test_order_of_evidence_does_not_matter(
    policy: Rules, evidence: list[Evidence], imported: bool, random: Any
) -> None:
    shuffled = random.sample(evidence, len(evidence))

    first = settle(policy, evidence, imported=imported)
    second = settle(policy, shuffled, imported=imported)

    # The reason names failures and verdicts in the order of the evidence.
    assert replace(first, reason="") == replace(second, reason="")
    assert judge_nsfw(policy, evidence).flagged == judge_nsfw(policy, shuffled).flagged


@on_any_machine
@given(any_rules, st.lists(any_evidence, max_size=4))
def test_doubt_never_approves_nor_blurs(policy: Rules, evidence: list[Evidence]) -> None:
    outcome = settle(policy, evidence).outcome
    if outcome not in (Outcome.APPROVE, Outcome.BLUR):
        return
    findings = [one for item in evidence for one in item.findings]

    assert evidence
    assert policy.may_approve
    assert not any(item.failed for item in evidence)
    for item in evidence:
        named = item.findings and any(number is not None for _, number in item.findings)
        assert not item.flagged or named or item.score is not None
    for slug, number in findings:
        rule = policy.for_category(slug)
        assert rule is None or number is not None
        if outcome is Outcome.BLUR and is_blurred(rule, number):
            assert rule.reject_at is None or number < rule.reject_at
            continue
        assert not is_blurred(rule, number)
        assert rule is None or rule.review_at is None or number < rule.review_at
        assert rule is None or rule.reject_at is None or number < rule.reject_at
    closed = {
        l1
        for item in evidence
        if item.silence_counts or item.classifier in policy.trusted_silences
        for l1, coverage in item.covers.items()
        if coverage == "full" or not policy.requires_full_coverage
    }
    assert policy.watched <= closed | set(policy.accepted_unchecked)
    for item in evidence:
        least = policy.nsfw.review_at
        if item.score is not None and least is not None and item.score >= least:
            level = 2 if item.score_level is None else item.score_level
            assert any(is_explanation(policy, one, level) for one in findings)


# --- A score that named categories explain ---
@pytest.mark.parametrize(
    ("named", "fields", "outcome"),
    [
        (("swimwear-underwear.female", 97), {}, Outcome.APPROVE),
        (("swimwear-underwear.female", 20), {}, Outcome.APPROVE),
        # Too weak to be what the score means.
        (("swimwear-underwear.female", 19), {}, Outcome.PERSON),
        # Not on the score's level.
        (("gambling", 97), {}, Outcome.PERSON),
        # It names swimwear, but its silence about explicit content and hate symbols does not count.
        (("swimwear-underwear.female", 97), {"covers": LOCAL_COVERS}, Outcome.PERSON),
        (("swimwear-underwear.female", 97), {"silence_counts": False}, Outcome.PERSON),
        # The named rule decides.
        (("explicit.nudity", 50), {}, Outcome.PERSON),
        (("explicit.nudity", 90), {}, Outcome.REJECT),
    ],
)
def test_named_category_explains_score_if_its_classifier_covers_the_rest(
    named: tuple[str, int], fields: dict[str, Any], outcome: Outcome
) -> None:
    evidence = [
        make_evidence(label="Novita", score=Decimal(80), score_level=2),
        make_evidence(named, label="Other", **fields),
    ]

    settlement = settle(make_rules(), evidence)

    assert settlement.outcome is outcome
    if outcome is Outcome.APPROVE:
        assert settlement.reason == (
            "Novita and Other found nothing that policy version 7 acts on. Novita gave a score of"
            " 80 without a category, asked at level 2; Other found Female Swimwear or Underwear,"
            " which explains it."
        )


def test_explained_score_is_not_nsfw_at_the_policys_level() -> None:
    novita = make_evidence(label="Novita", score=Decimal(80), score_level=2)
    swimwear = make_evidence(("swimwear-underwear.female", 97), label="Other")

    assert judge_nsfw(make_rules(), [novita]).flagged is None
    assert judge_nsfw(make_rules(), [novita, swimwear]).flagged is False
    assert judge_nsfw(make_rules(nsfw_level=2), [novita, make_evidence()]).flagged is True


@pytest.mark.parametrize(
    ("evidence", "risk"),
    [
        ([], 100),
        ([make_evidence(failed="Silent.")], 100),
        ([make_evidence(), make_evidence(failed="Silent.")], 99),
        ([make_evidence(("violence.weapons", 100))], 98),
        ([make_evidence(flagged=True)], 90),
        ([make_evidence(score=Decimal(100))], 98),
        ([make_evidence(("violence.weapons", 30))], 30),
        ([make_evidence(covers={})], 1),
    ],
)
def test_unjudged_images_come_first_and_images_without_findings_last(
    evidence: list[Evidence], risk: int
) -> None:
    settlement = settle(make_rules(), evidence)

    assert (settlement.outcome, settlement.risk) == (Outcome.PERSON, risk)


@on_any_machine
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
