"""The record: append-only, chained, and the truth that a review's status only mirrors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

from moderation.models import Decision, Policy, Review, Verdict
from moderation.models.decisions import verify_chain
from moderation.services import decisions
from moderation.services.audit_log import record_decision, verify_record
from tests.moderation.page_helpers import record_as_before

Make = Callable[..., Any]


def decided(
    make_review: Make, user: User, verdict: Verdict = Verdict.APPROVE, **fields: Any
) -> Decision:
    review = make_review()
    decisions.claim(review=review, user=user)
    return decisions.decide(review=review, user=user, verdict=verdict, **fields)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE moderation_decision SET note = 'forged'",
        "UPDATE moderation_decision SET verdict = 'approve' WHERE verdict = 'reject'",
        "DELETE FROM moderation_decision",
        "INSERT OR REPLACE INTO moderation_decision SELECT * FROM moderation_decision",
        "TRUNCATE moderation_decision CASCADE",
    ],
)
def test_the_database_itself_refuses_to_alter_decisions(
    make_review: Make, moderator: User, statement: str
) -> None:
    decided(make_review, moderator, Verdict.REJECT, categories=["violence.weapons"])

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)

    assert Decision.objects.get().verdict == Verdict.REJECT


def test_neither_the_orm_nor_bulk_methods_get_past_it(make_review: Make, moderator: User) -> None:
    decision = decided(make_review, moderator)

    for act in (
        lambda: Decision.objects.filter(pk=decision.pk).update(note="forged"),
        lambda: Decision.objects.all()._raw_delete("default"),
        decision.save,
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            act()


def test_the_chain_verifies_and_every_alteration_is_found(
    make_review: Make, moderator: User
) -> None:
    for verdict in (Verdict.APPROVE, Verdict.ESCALATE, Verdict.APPROVE):
        decided(make_review, moderator, verdict)
    chain = list(Decision.objects.order_by("sequence"))
    assert verify_chain(chain) == []

    for field, value in {
        "note": "x",
        "verdict": "reject",
        "reviewer_name": "y",
        "categories": ["gambling"],
    }.items():
        forged = list(Decision.objects.order_by("sequence"))
        setattr(forged[1], field, value)
        assert verify_chain(forged) == [f"Decision {forged[1].sequence} was altered."], field

    removed = [chain[0], chain[2]]
    assert verify_chain(removed) == [
        f"Decision {chain[1].sequence} is missing: the next one is {chain[2].sequence}."
    ]


def test_a_link_whose_hash_was_recomputed_still_breaks_the_next(
    make_review: Make, moderator: User
) -> None:
    for _ in range(2):
        decided(make_review, moderator)
    first, second = Decision.objects.order_by("sequence")
    first.note = "forged"
    first.hash = first.compute_hash()

    assert verify_chain([first, second]) == [
        f"Decision {second.sequence} does not follow from the one before it."
    ]


def test_replaying_the_decisions_gives_the_status_of_every_review(
    make_review: Make, moderator: User, senior: User
) -> None:
    rejected = decided(make_review, moderator, Verdict.REJECT, categories=["gambling"])
    decisions.reverse(decision=rejected, user=moderator)
    escalated = decided(make_review, moderator, Verdict.ESCALATE, note="not sure").review
    decisions.claim(review=escalated, user=senior)
    decisions.decide(review=escalated, user=senior, verdict=Verdict.APPROVE)
    decided(make_review, senior)
    make_review()
    taken_back = decided(make_review, moderator, Verdict.ESCALATE).review
    decisions.claim(review=taken_back, user=senior)
    by_senior = decisions.decide(review=taken_back, user=senior, verdict=Verdict.APPROVE)
    decisions.reverse(decision=by_senior, user=senior)
    after = {"approve": "approved", "reject": "rejected", "escalate": "escalated"}

    for review in Review.objects.all():
        states = ["pending"]
        for decision in review.decisions.order_by("sequence"):
            # A reversal leads back to where the decision it names was made.
            states = (
                states[:-1]
                if decision.verdict == Verdict.REVERSE
                else [*states, after[decision.verdict]]
            )
        assert review.status == states[-1]


@pytest.mark.django_db(transaction=True)
def test_a_record_stays_whole_and_append_only_when_its_table_is_copied(
    make_review: Make, moderator: User
) -> None:
    """Which is how SQLite takes a column's uniqueness away."""
    # Rows from before the columns that going back takes away.
    made = [record_as_before(make_review(), moderator) for _ in range(3)]

    for names in (["0011"], []):
        call_command("migrate", "moderation", *names, verbosity=0)

    assert [row.hash for row in Decision.objects.order_by("sequence")] == [row.hash for row in made]
    assert verify_record()[1] == []
    for change in (
        lambda: Decision.objects.update(note="forged"),
        lambda: Decision.objects.all()._raw_delete("default"),
    ):
        with pytest.raises(DatabaseError):
            change()
    assert decided(make_review, moderator).sequence == 4


@pytest.mark.django_db(transaction=True)
def test_nothing_is_recorded_but_together_with_what_becomes_of_its_image(make_review: Make) -> None:
    policy, review = Policy.objects.active(), make_review()

    with pytest.raises(transaction.TransactionManagementError):
        record_decision(review=review, verdict=Verdict.APPROVE, policy_id=policy.pk, by_policy=True)

    assert not Decision.objects.exists()


def test_a_policys_decision_is_recorded_like_a_persons(make_review: Make) -> None:
    policy = Policy.objects.active()

    decision = record_decision(
        review=make_review(), verdict=Verdict.APPROVE, policy_id=policy.pk, by_policy=True
    )

    assert decision.author == "policy version 1"
    assert verify_chain(Decision.objects.order_by("sequence")) == []
