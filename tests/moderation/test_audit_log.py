"""The record: append-only, hash-chained, and the source of every review's status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from generation.models import Asset
from moderation.models import ChainHead, Decision, Policy, Review, Verdict
from moderation.record_keys import RecordKeyError
from moderation.services import decisions
from moderation.services.audit_log import record_decision
from moderation.services.verification import verify_record
from tests.moderation.page_helpers import record_legacy_approval
from tests.moderation.record_helpers import unseal, verify_chain
from tests.moderation.test_commands import run_command

Factory = Callable[..., Any]


def decide_new_review(
    make_review: Factory, user: User, verdict: Verdict = Verdict.APPROVE, **fields: Any
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
def test_sql_changes_of_decisions_raise_database_error(
    make_review: Factory, moderator: User, statement: str
) -> None:
    decide_new_review(make_review, moderator, Verdict.REJECT, categories=["violence.weapons"])

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)

    assert Decision.objects.get().verdict == Verdict.REJECT


def test_orm_changes_of_decisions_raise_database_error(
    make_review: Factory, moderator: User
) -> None:
    decision = decide_new_review(make_review, moderator)

    for act in (
        lambda: Decision.objects.filter(pk=decision.pk).update(note="forged"),
        lambda: Decision.objects.all()._raw_delete("default"),
        decision.save,
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            act()


def test_chain_verification_reports_altered_and_missing_decisions(
    make_review: Factory, moderator: User
) -> None:
    for verdict in (Verdict.APPROVE, Verdict.ESCALATE, Verdict.APPROVE):
        decide_new_review(make_review, moderator, verdict)
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


def test_decision_with_recomputed_hash_breaks_the_next_link(
    make_review: Factory, moderator: User
) -> None:
    for _ in range(2):
        decide_new_review(make_review, moderator)
    first, second = Decision.objects.order_by("sequence")
    first.note = "forged"
    first.hash = first.compute_hash()

    assert verify_chain([first, second]) == [
        f"Decision {second.sequence} does not follow from the one before it."
    ]


def test_replayed_decisions_give_status_of_every_review(
    make_review: Factory, moderator: User, senior: User
) -> None:
    rejected = decide_new_review(make_review, moderator, Verdict.REJECT, categories=["gambling"])
    decisions.reverse(decision=rejected, user=moderator)
    escalated = decide_new_review(make_review, moderator, Verdict.ESCALATE, note="not sure").review
    decisions.claim(review=escalated, user=senior)
    decisions.decide(review=escalated, user=senior, verdict=Verdict.APPROVE)
    decide_new_review(make_review, senior)
    make_review()
    taken_back = decide_new_review(make_review, moderator, Verdict.ESCALATE).review
    decisions.claim(review=taken_back, user=senior)
    by_senior = decisions.decide(review=taken_back, user=senior, verdict=Verdict.APPROVE)
    decisions.reverse(decision=by_senior, user=senior)
    after = {"approve": "approved", "reject": "rejected", "escalate": "escalated"}

    for review in Review.objects.all():
        states = ["pending"]
        for decision in review.decisions.order_by("sequence"):
            # A reversal restores the status from before the reversed decision.
            states = (
                states[:-1]
                if decision.verdict == Verdict.REVERSE
                else [*states, after[decision.verdict]]
            )
        assert review.status == states[-1]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_record_stays_valid_and_append_only_after_table_copy(
    make_review: Factory, moderator: User
) -> None:
    """SQLite copies the table to remove the unique constraint of a column."""
    # Rows without values in the columns that the backward migration removes.
    made = [record_legacy_approval(make_review(), moderator) for _ in range(3)]
    Review.objects.update(status="approved", decided_at=timezone.now(), decided_by=moderator)

    for names in (["0011"], []):
        call_command("migrate", "moderation", *names, verbosity=0)

    assert [row.hash for row in Decision.objects.order_by("sequence")] == [row.hash for row in made]
    (fault,) = verify_record()[1]
    assert fault.startswith("The record is not sealed")
    assert "Sealed: 3 decisions" in run_command("seal_record")
    assert verify_record()[1] == []
    for change in (
        lambda: Decision.objects.update(note="forged"),
        lambda: Decision.objects.all()._raw_delete("default"),
    ):
        with pytest.raises(DatabaseError):
            change()
    signed = decide_new_review(make_review, moderator)
    assert (signed.sequence, signed.version) == (4, 2)
    assert verify_record()[1] == []


@pytest.fixture
def old_record(make_review: Factory, moderator: User) -> list[Decision]:
    """Make a record of an earlier version, which is not sealed."""
    return [record_legacy_approval(make_review(), moderator) for _ in range(3)]


def test_seal_covers_images_of_decisions_from_before_it(
    old_record: list[Decision], make_review: Factory, moderator: User
) -> None:
    Review.objects.update(status="approved", decided_at=timezone.now(), decided_by=moderator)
    run_command("seal_record")
    decide_new_review(make_review, moderator)
    assert verify_record()[1] == []

    Asset.objects.filter(pk=old_record[1].review.asset_id).update(source_sha256="0" * 64)

    assert any("Decisions 1 to 3, or the images" in fault for fault in verify_record()[1])


def test_process_of_an_earlier_version_cannot_decide_after_the_seal(
    make_review: Factory, moderator: User
) -> None:
    decide_new_review(make_review, moderator)
    head = ChainHead.objects.get()
    row = Decision(
        review=make_review(),
        verdict=Verdict.APPROVE,
        reviewer=moderator,
        sequence=head.sequence + 1,
        previous_hash=head.hash,
    )
    row.hash = row.compute_hash()

    with pytest.raises(DatabaseError, match="restart this process"), transaction.atomic():
        row.save(force_insert=True)


def test_record_without_a_key_stays_unsigned(
    make_review: Factory, moderator: User, settings: Any
) -> None:
    unseal()
    settings.RECORD_KEY = ""

    decided = decide_new_review(make_review, moderator)

    assert (decided.version, decided.evidence) == (1, "")
    assert verify_record()[1] == []
    with pytest.raises(CommandError, match="RECORD_KEY is empty"):
        run_command("seal_record")


def test_rotated_key_signs_from_then_on_and_the_earlier_one_verifies(
    make_review: Factory, moderator: User, settings: Any
) -> None:
    decide_new_review(make_review, moderator)
    earlier = settings.RECORD_KEY
    settings.RECORD_KEY, settings.RECORD_KEY_FALLBACKS = earlier[::-1], [earlier]
    # Until the rotation every process signs with the key that the head names.
    decide_new_review(make_review, moderator)
    assert "rotate_record_key" in run_command("verify_decisions")

    run_command("rotate_record_key")
    decide_new_review(make_review, moderator)

    assert verify_record()[1] == []
    settings.RECORD_KEY_FALLBACKS = []
    faults = verify_record()[1]
    assert faults
    assert "RECORD_KEY_FALLBACKS" in faults[0]
    settings.RECORD_KEY, settings.RECORD_KEY_FALLBACKS = earlier, []
    with pytest.raises(RecordKeyError, match="nothing can be decided"):
        decide_new_review(make_review, moderator)


@pytest.mark.django_db(transaction=True)
def test_decision_outside_a_transaction_raises_error(make_review: Factory) -> None:
    policy, review = Policy.objects.active(), make_review()

    with pytest.raises(transaction.TransactionManagementError):
        record_decision(review=review, verdict=Verdict.APPROVE, policy_id=policy.pk, by_policy=True)

    assert not Decision.objects.exists()


def test_decision_of_policy_is_recorded_in_the_chain(make_review: Factory) -> None:
    policy = Policy.objects.active()

    decision = record_decision(
        review=make_review(), verdict=Verdict.APPROVE, policy_id=policy.pk, by_policy=True
    )

    assert decision.author == "policy version 1"
    assert verify_chain(Decision.objects.order_by("sequence")) == []
