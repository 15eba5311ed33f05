"""The policy engine on findings that only sort, and on findings that only ask."""

from __future__ import annotations

from decimal import Decimal

import pytest

from moderation.policy_engine import Evidence, Outcome, Rules, Thresholds, settle

WEAPONS = "violence.weapons"
RULES = Rules(
    name="policy version 1",
    per_category={
        "violence": Thresholds(review_at=Decimal(30), blur_at=Decimal(50), reject_at=Decimal(90))
    },
    nsfw=Thresholds(review_at=Decimal(20), reject_at=None),
    approves_imports=True,
    accepted_unchecked=["violence"],
)


def judge(confidence: int, *, kind: str = "", category: str = WEAPONS) -> Evidence:
    limits = {kind: frozenset({category})} if kind else {}
    return Evidence(
        label="Learned heads",
        classifier="learned",
        findings=[(category, Decimal(confidence))],
        silence_counts=False,
        **limits,
    )


@pytest.mark.parametrize("confidence", [20, 40, 60, 95])
def test_finding_that_only_sorts_changes_no_approval(confidence: int) -> None:
    without = Evidence(label="Learned heads", classifier="learned", silence_counts=False)

    assert settle(RULES, [judge(confidence, kind="sorting")]) == settle(RULES, [without])
    assert settle(RULES, [without]).outcome is Outcome.APPROVE


@pytest.mark.parametrize("confidence", [20, 60, 95])
def test_finding_that_only_sorts_never_lowers_the_risk_of_others(confidence: int) -> None:
    other = Evidence(label="Detector", findings=[("violence.graphic", Decimal(40))])

    alone = settle(RULES, [other])
    advised = settle(RULES, [other, judge(confidence, kind="sorting")])

    assert advised.risk == max(alone.risk, confidence)
    assert advised.outcome is Outcome.PERSON
    assert (advised.top_category, advised.confidence) == (alone.top_category, alone.confidence)


def test_finding_that_only_sorts_stands_below_a_failed_classifier() -> None:
    failed = Evidence(label="Detector", failed="It crashed.")

    settlement = settle(RULES, [failed, judge(95, kind="sorting")])

    assert settlement.risk == settle(RULES, [failed, judge(20)]).risk
    assert settlement.top_category == WEAPONS


def test_category_that_the_policy_ignores_does_not_sort() -> None:
    failed = Evidence(label="Detector", failed="It crashed.")

    settlement = settle(RULES, [failed, judge(95, kind="sorting", category="gambling")])

    assert settlement == settle(RULES, [failed, judge(1, kind="sorting", category="gambling")])
    assert settlement.top_category == ""


@pytest.mark.parametrize(
    ("confidence", "outcome", "asking"),
    [
        (20, Outcome.APPROVE, Outcome.APPROVE),
        (40, Outcome.PERSON, Outcome.PERSON),
        (60, Outcome.BLUR, Outcome.PERSON),
        (95, Outcome.REJECT, Outcome.PERSON),
    ],
)
def test_finding_that_only_asks_neither_blurs_nor_rejects(
    confidence: int, outcome: Outcome, asking: Outcome
) -> None:
    assert settle(RULES, [judge(confidence)]).outcome is outcome
    assert settle(RULES, [judge(confidence, kind="asking")]).outcome is asking


@pytest.mark.parametrize("kind", ["sorting", "asking"])
def test_finding_of_a_head_explains_no_score(kind: str) -> None:
    rules = Rules(
        name="policy version 2",
        per_category={
            "explicit": Thresholds(review_at=Decimal(60), reject_at=None),
            "hate-symbols": Thresholds(review_at=Decimal(60), reject_at=None),
        },
        nsfw=Thresholds(review_at=Decimal(20), reject_at=None),
        approves_imports=True,
        accepted_unchecked=["explicit", "hate-symbols"],
        trusted_silences=["learned"],
    )
    covers = {"explicit": "partial", "hate-symbols": "partial"}
    score = Evidence(label="Novita", score=Decimal(50), score_level=0)

    def settle_with(**limits: frozenset[str]) -> Outcome:
        head = Evidence(
            label="Learned heads",
            classifier="learned",
            findings=[("explicit", Decimal(30))],
            silence_counts=False,
            covers=covers,
            **limits,
        )
        return settle(rules, [score, head]).outcome

    assert settle_with() is Outcome.APPROVE  # explained: its own rule starts at 60
    assert settle_with(**{kind: frozenset({"explicit"})}) is Outcome.PERSON
