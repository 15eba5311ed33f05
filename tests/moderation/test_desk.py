from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.utils import timezone

from moderation.models import Decision, Review, Verdict
from moderation.models.reviews import CLAIM_LASTS, UNDO_WINDOW
from moderation.queues import QUEUES
from moderation.services import decisions

Factory = Callable[..., Any]
WAITING, ESCALATED = QUEUES["waiting"], QUEUES["escalated"]


def claim_new_review(make_review: Factory, user: User) -> Review:
    return decisions.claim(review=make_review(), user=user)


def expire_claim(review: Review) -> None:
    Review.objects.filter(pk=review.pk).update(claimed_until=timezone.now() - timedelta(seconds=1))


def test_claim_next_gives_each_person_another_review_and_resumes_own(
    make_review: Factory, moderator: User, other_moderator: User
) -> None:
    make_review(), make_review()

    mine = decisions.claim_next(user=moderator, queue=WAITING)
    theirs = decisions.claim_next(user=other_moderator, queue=WAITING)

    assert None not in (mine, theirs)
    assert mine != theirs
    assert decisions.claim_next(user=moderator, queue=WAITING) == mine


def test_claim_next_orders_by_risk_then_age(make_review: Factory, moderator: User) -> None:
    old, risky, new = make_review(), make_review(), make_review()
    Review.objects.filter(pk__in=[old.pk, new.pk]).update(risk=10)
    Review.objects.filter(pk=risky.pk).update(risk=80)

    order = []
    while review := decisions.claim_next(user=moderator, queue=WAITING):
        decisions.decide(review=review, user=moderator, verdict=Verdict.APPROVE)
        order.append(review)

    assert order == [risky, old, new]


def test_skipped_review_is_available_to_others(
    make_review: Factory, moderator: User, other_moderator: User
) -> None:
    review = make_review()
    decisions.claim_next(user=moderator, queue=WAITING)

    decisions.skip(review=review, user=moderator)

    assert decisions.claim_next(user=moderator, queue=WAITING, skipped=[review.pk]) is None
    assert decisions.claim_next(user=other_moderator, queue=WAITING) == review
    assert not Decision.objects.exists()


def test_decision_after_review_was_claimed_by_another_raises_conflict(
    make_review: Factory, moderator: User, other_moderator: User
) -> None:
    review = claim_new_review(make_review, moderator)
    expire_claim(review)

    assert decisions.claim_next(user=other_moderator, queue=WAITING) == review
    with pytest.raises(decisions.ConflictError, match="other has taken this review"):
        decisions.decide(review=review, user=moderator, verdict=Verdict.APPROVE)
    decisions.skip(review=review, user=other_moderator)
    with pytest.raises(decisions.ConflictError, match="expired"):
        decisions.decide(review=review, user=moderator, verdict=Verdict.APPROVE)


def test_decision_with_lapsed_claim_succeeds_if_nobody_else_claimed(
    make_review: Factory, moderator: User
) -> None:
    review = claim_new_review(make_review, moderator)
    expire_claim(review)

    decisions.decide(review=review, user=moderator, verdict=Verdict.APPROVE)
    review.refresh_from_db()
    assert (review.status, review.claimed_by) == ("approved", None)


def test_decision_on_review_claimed_by_another_raises_conflict(
    make_review: Factory, moderator: User, other_moderator: User
) -> None:
    review = claim_new_review(make_review, moderator)

    with pytest.raises(decisions.ConflictError, match="moderator has taken this review"):
        decisions.decide(review=review, user=other_moderator, verdict=Verdict.APPROVE)
    with pytest.raises(decisions.ConflictError, match="moderator has taken this review"):
        decisions.claim(review=review, user=other_moderator)
    decisions.decide(review=review, user=moderator, verdict=Verdict.APPROVE)


def test_second_decision_raises_conflict_naming_first_decision(
    make_review: Factory, moderator: User, other_moderator: User
) -> None:
    review = claim_new_review(make_review, moderator)
    decisions.decide(
        review=review, user=moderator, verdict=Verdict.REJECT, categories=["violence.weapons"]
    )

    for user in (moderator, other_moderator):
        with pytest.raises(
            decisions.ConflictError, match=r"Already rejected \(Weapons\) by moderator"
        ):
            decisions.decide(review=review, user=user, verdict=Verdict.APPROVE)
    assert Decision.objects.count() == 1


def test_rejection_without_valid_category_raises_error(
    make_review: Factory, moderator: User
) -> None:
    review = claim_new_review(make_review, moderator)

    for categories in ([], ["violence"], ["nonsense"]):
        with pytest.raises(decisions.InvalidDecisionError):
            decisions.decide(
                review=review, user=moderator, verdict=Verdict.REJECT, categories=categories
            )
    decision = decisions.decide(
        review=review, user=moderator, verdict=Verdict.REJECT, categories=["gambling"]
    )

    assert decision.categories == ["gambling"]


def test_only_seniors_decide_escalated_reviews(
    make_review: Factory, moderator: User, senior: User
) -> None:
    review = claim_new_review(make_review, moderator)
    decisions.decide(
        review=review, user=moderator, verdict=Verdict.ESCALATE, note="which flag is this?"
    )

    assert decisions.claim_next(user=moderator, queue=ESCALATED) is None
    with pytest.raises(decisions.NotPermittedError):
        decisions.claim(review=review, user=moderator)
    assert decisions.claim_next(user=senior, queue=ESCALATED) == review
    decisions.decide(
        review=review, user=senior, verdict=Verdict.REJECT, categories=["hate-symbols.extremist"]
    )


def test_auditor_cannot_claim_or_decide(make_review: Factory, auditor: User) -> None:
    review = make_review()

    with pytest.raises(decisions.NotPermittedError):
        decisions.claim(review=review, user=auditor)
    with pytest.raises(decisions.NotPermittedError):
        decisions.decide(review=review, user=auditor, verdict=Verdict.APPROVE)


def test_reversal_reopens_review_and_claims_it_for_the_same_person(
    make_review: Factory, moderator: User
) -> None:
    review = claim_new_review(make_review, moderator)
    decision = decisions.decide(
        review=review, user=moderator, verdict=Verdict.REJECT, categories=["gambling"]
    )

    assert decisions.find_undoable(user=moderator) == decision
    reversal = decisions.reverse(decision=decision, user=moderator)

    review.refresh_from_db()
    assert reversal.reverses == decision
    assert (review.status, review.decided_at) == ("pending", None)
    assert review.is_held_by(moderator)
    with pytest.raises(decisions.NotPermittedError, match="reversed already"):
        decisions.reverse(decision=Decision.objects.get(pk=decision.pk), user=moderator)


def test_repeated_undo_reverses_decisions_from_newest_to_oldest(
    make_review: Factory, moderator: User
) -> None:
    made = []
    for _ in range(2):
        made.append(
            decisions.decide(
                review=claim_new_review(make_review, moderator),
                user=moderator,
                verdict=Verdict.APPROVE,
            )
        )

    for expected in reversed(made):
        decision = decisions.find_undoable(user=moderator)
        assert decision == expected
        decisions.reverse(decision=decision, user=moderator)
    assert decisions.find_undoable(user=moderator) is None


def test_reversed_escalation_makes_review_pending(make_review: Factory, moderator: User) -> None:
    review = claim_new_review(make_review, moderator)
    decision = decisions.decide(review=review, user=moderator, verdict=Verdict.ESCALATE)

    decisions.reverse(decision=decision, user=moderator)

    assert Review.objects.get().status == "pending"


def test_reversed_decision_of_senior_leaves_review_escalated(
    make_review: Factory, moderator: User, senior: User
) -> None:
    review = claim_new_review(make_review, moderator)
    decisions.decide(
        review=review, user=moderator, verdict=Verdict.ESCALATE, note="which flag is this?"
    )
    decisions.claim(review=review, user=senior)
    decision = decisions.decide(review=review, user=senior, verdict=Verdict.APPROVE)

    decisions.reverse(decision=decision, user=senior)

    review.refresh_from_db()
    assert review.status == "escalated"
    assert review.is_held_by(senior)
    assert decisions.claim_next(user=moderator, queue=WAITING) is None


def test_after_undo_window_only_a_senior_reverses_with_reason(
    make_review: Factory,
    moderator: User,
    other_moderator: User,
    senior: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decision = decisions.decide(
        review=claim_new_review(make_review, moderator), user=moderator, verdict=Verdict.APPROVE
    )
    later = timezone.now() + UNDO_WINDOW + timedelta(seconds=1)

    with pytest.raises(decisions.NotPermittedError, match="senior"):
        decisions.reverse(decision=decision, user=other_moderator)
    with monkeypatch.context() as clock:
        clock.setattr(timezone, "now", lambda: later)
        assert decisions.find_undoable(user=moderator) is None
        with pytest.raises(decisions.NotPermittedError, match="undo window is over"):
            decisions.reverse(decision=decision, user=moderator)
        with pytest.raises(decisions.InvalidDecisionError, match="Give a reason"):
            decisions.reverse(decision=decision, user=senior)
        assert decisions.reverse(decision=decision, user=senior, note="the flag is historical").note


def test_reversal_of_earlier_decision_raises_conflict(
    make_review: Factory, moderator: User, senior: User
) -> None:
    review = claim_new_review(make_review, moderator)
    escalation = decisions.decide(review=review, user=moderator, verdict=Verdict.ESCALATE)
    decisions.claim(review=review, user=senior)
    decisions.decide(review=review, user=senior, verdict=Verdict.APPROVE)

    with pytest.raises(decisions.ConflictError):
        decisions.reverse(decision=escalation, user=moderator)


@pytest.mark.django_db(transaction=True)
def test_concurrent_people_decide_each_review_once(
    make_review: Factory, moderator: User, senior: User
) -> None:
    for _ in range(24):
        make_review()
    people = [User.objects.create_user(f"racer{number}") for number in range(6)]
    for person in people:
        person.groups.set(moderator.groups.all())
    faults: list[Exception] = []

    def work(person: User) -> None:
        try:
            while review := decisions.claim_next(user=person, queue=WAITING):
                decisions.decide(review=review, user=person, verdict=Verdict.APPROVE)
        except Exception as error:
            faults.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert faults == []
    assert Decision.objects.count() == 24
    assert Review.objects.filter(status="approved").count() == 24


def test_claiming_again_renews_the_claim(make_review: Factory, moderator: User) -> None:
    review = claim_new_review(make_review, moderator)
    Review.objects.update(claimed_until=timezone.now() + timedelta(seconds=5))

    decisions.claim(review=review, user=moderator)

    review.refresh_from_db()
    assert review.claimed_until is not None
    assert review.claimed_until > timezone.now() + CLAIM_LASTS - timedelta(seconds=5)
