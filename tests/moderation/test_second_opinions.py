"""Second opinions: selection, agreement, disagreement and reversal."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.utils import timezone

from generation.models import ApiKey, GenerationRequest, Source
from moderation.models import Decision, Delivery, Review, Verdict
from moderation.queues import QUEUES
from moderation.services import decisions, second_opinions
from tests.moderation.page_helpers import (
    ClientOf,
    MakeReview,
    decide,
    get_review_url,
    make_claimed_review,
    start_queue,
)
from tests.moderation.record_helpers import verify_chain
from tests.moderation.second_opinion_helpers import NOTE, REASON, judge, judge_over_http, read_state

SECOND_OPINION_QUEUE = QUEUES["second-opinion"]


@pytest.fixture(autouse=True)
def _draw_all_decisions(settings: Any) -> None:
    settings.SECOND_OPINION_PERCENT = 100


# --- Selection ---
def test_second_opinion_percent_sets_the_drawn_share(
    make_review: MakeReview, moderator: User, settings: Any
) -> None:
    decision = judge(make_review(), moderator, "approve")
    drawn = 0
    settings.SECOND_OPINION_PERCENT = 5
    for number in range(2000):
        decision.hash = f"{number * 7919 % 10_000:015x}" + "0" * 49
        drawn += second_opinions.is_drawn(decision)

    assert 60 < drawn < 140
    settings.SECOND_OPINION_PERCENT = 0
    decision.hash = "0" * 64
    assert not second_opinions.is_drawn(decision)


def test_decision_id_of_browser_does_not_affect_the_draw(
    client_of: ClientOf, make_review: MakeReview, moderator: User, settings: Any
) -> None:
    """The ID of a decision comes from the browser, so the draw must not depend on it."""
    settings.SECOND_OPINION_PERCENT = 99
    client = client_of(moderator)
    reviews = [make_claimed_review(make_review, moderator) for _ in range(8)]

    for number, review in enumerate(reviews):
        # A draw by ID would select none of these: their last four digits are 9999.
        name = f"00000000-0000-4000-8000-{number * 10_000 + 9_999:012x}"
        assert decide(client, review, "approve", decision=name).status_code == 303

    wanted = Review.objects.filter(second_opinion="wanted").count()
    assert wanted >= 6


@pytest.mark.parametrize(
    ("verdict", "opinion"), [("approve", "wanted"), ("reject", "wanted"), ("escalate", "")]
)
def test_only_final_decisions_want_a_second_opinion(
    make_review: MakeReview, moderator: User, verdict: str, opinion: str
) -> None:
    review = make_review()

    judge(review, moderator, verdict)

    assert read_state(review)[1] == opinion


def test_decision_on_escalation_wants_no_second_opinion(
    make_review: MakeReview, moderator: User, senior: User
) -> None:
    review = make_review()
    judge(review, moderator, "escalate")

    judge(review, senior, "approve")

    assert read_state(review) == ("approved", "")


def test_first_reviewer_cannot_give_the_second_opinion(
    client_of: ClientOf, make_review: MakeReview, moderator: User, other_moderator: User
) -> None:
    review = make_claimed_review(make_review, moderator)
    client = client_of(moderator)
    judge_over_http(client, review, "approve")

    refused = judge_over_http(client, review, "reject")

    assert refused.status_code == 409
    assert start_queue(client, "second-opinion")["Location"] == "/queues/second-opinion/"
    assert decisions.claim_next(user=moderator, queue=SECOND_OPINION_QUEUE) is None
    assert start_queue(client_of(other_moderator), "second-opinion")["Location"] == get_review_url(
        review, "second-opinion"
    )
    assert Decision.objects.count() == 1


# --- Agreement and disagreement ---
@pytest.mark.parametrize("verdict", ["approve", "reject"])
def test_agreeing_second_opinion_keeps_first_decision(
    make_review: MakeReview, moderator: User, other_moderator: User, verdict: str
) -> None:
    review = make_review()
    first = judge(review, moderator, verdict)

    second = judge(review, other_moderator, verdict)

    status = "approved" if verdict == "approve" else "rejected"
    assert read_state(review) == (status, "agreed")
    assert second.second_of == first
    assert (review.decided_by, review.decided_at) == (moderator, first.created_at)
    assert review.claimed_by is None
    assert decisions.claim_next(user=other_moderator, queue=SECOND_OPINION_QUEUE) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [("approve", "reject"), ("reject", "approve"), ("approve", "escalate"), ("reject", "escalate")],
)
def test_differing_second_opinion_escalates_and_shows_both_to_senior(
    client_of: ClientOf,
    make_review: MakeReview,
    moderator: User,
    other_moderator: User,
    senior: User,
    one: str,
    other: str,
) -> None:
    review = make_claimed_review(make_review, moderator)
    judge_over_http(client_of(moderator), review, one, note="Toy")
    judge_over_http(client_of(other_moderator), review, other, note=NOTE)

    assert read_state(review) == ("escalated", "disagreed")
    client = client_of(senior)
    assert start_queue(client, "escalated")["Location"] == get_review_url(review, "escalated")
    text = client.get(get_review_url(review, "escalated")).content.decode()
    section = text.split('id="disagreement-title"')[1].split("</section>")[0]
    assert section.index("by <bdi>moderator") < section.index("by <bdi>other")
    assert section.index("Toy") < section.index(NOTE)
    assert "you are one of them" not in section
    assert ("Weapons" in section) == ("reject" in (one, other))


def test_page_tells_senior_about_own_opinion(
    make_review: MakeReview, client_of: ClientOf, moderator: User, senior: User
) -> None:
    review = make_review()
    judge(review, moderator, "approve")
    judge(review, senior, "reject")

    assert "you are one of them" in client_of(senior).get(get_review_url(review)).content.decode()


def test_senior_settles_disagreement_which_stays_noted(
    make_review: MakeReview, moderator: User, other_moderator: User, senior: User
) -> None:
    review = make_review()
    judge(review, moderator, "approve")
    judge(review, other_moderator, "reject")

    last = judge(review, senior, "reject")

    assert read_state(review) == ("rejected", "disagreed")
    assert last.second_of is None
    assert review.decided_by == senior
    assert decisions.claim_next(user=moderator, queue=SECOND_OPINION_QUEUE) is None
    decisions.reverse(decision=last, user=senior)
    assert read_state(review) == ("escalated", "disagreed")


# --- Reversals ---
@pytest.mark.parametrize("verdict", ["approve", "reject"])
def test_reversed_second_opinion_can_be_given_again(
    make_review: MakeReview, moderator: User, other_moderator: User, verdict: str
) -> None:
    review = make_review()
    first = judge(review, moderator, "approve")
    second = judge(review, other_moderator, verdict)

    decisions.reverse(decision=second, user=other_moderator)

    assert read_state(review) == ("approved", "wanted")
    assert (review.decided_by, review.decided_at) == (moderator, first.created_at)
    assert review.is_held_by(other_moderator)
    assert (
        decisions.decide(review=review, user=other_moderator, verdict=Verdict.APPROVE).second_of
        == first
    )


@pytest.mark.parametrize("verdict", ["approve", "reject"])
def test_reversal_of_first_decision_cancels_second_opinion(
    make_review: MakeReview, moderator: User, other_moderator: User, verdict: str
) -> None:
    review = make_review()
    first = judge(review, moderator, "approve")
    second = judge(review, other_moderator, verdict)

    decisions.reverse(decision=first, user=moderator)

    assert read_state(review) == ("pending", "")
    assert review.is_held_by(moderator)
    assert review.decided_by is None
    with pytest.raises(decisions.ConflictError):
        decisions.reverse(decision=second, user=other_moderator)


def test_second_opinion_on_reversed_decision_returns_409(
    client_of: ClientOf, make_review: MakeReview, moderator: User, other_moderator: User
) -> None:
    review = make_review()
    first = judge(review, moderator, "approve")
    decisions.claim(review=review, user=other_moderator)
    decisions.reverse(decision=first, user=moderator)

    late = decide(
        client_of(other_moderator),
        review,
        "reject",
        htmx=True,
        queue="second-opinion",
        categories=REASON,
    )

    assert late.status_code == 409
    assert b"moderator has taken this review" in late.content
    assert Decision.objects.count() == 2


def test_lapsed_second_opinion_returns_409_without_first_decision(
    client_of: ClientOf, make_review: MakeReview, moderator: User, other_moderator: User
) -> None:
    review = make_review()
    judge(review, moderator, "reject", NOTE)
    decisions.claim(review=review, user=other_moderator)
    Review.objects.filter(pk=review.pk).update(claimed_until=timezone.now())

    late = decide(client_of(other_moderator), review, "approve", htmx=True, queue="second-opinion")

    panel = late.content.decode().split('id="sidebar"')[0]
    assert late.status_code == 409
    assert "has expired" in panel
    assert NOTE not in panel
    assert "ejected" not in panel


# --- Programs ---
def test_disagreement_queues_withdrawn_event(
    make_request: Callable[..., GenerationRequest],
    make_review: MakeReview,
    moderator: User,
    other_moderator: User,
    senior: User,
) -> None:
    key, _ = ApiKey.make(name="shop", scopes=["generate"])
    order = make_request(
        status="succeeded",
        finished_at=timezone.now(),
        api_key=key,
        callback_url="https://shop.example/hook",
    )
    review = make_review(source=Source.TXT2IMG, request=order, position=0)

    def list_events() -> list[tuple[str, int]]:
        return list(Delivery.objects.order_by("pk").values_list("kind", "round"))

    judge(review, moderator, "approve")
    assert list_events() == [("finished", 1)]
    judge(review, other_moderator, "reject")
    assert list_events() == [("finished", 1), ("withdrawn", 1)]
    judge(review, senior, "approve")
    assert list_events() == [("finished", 1), ("withdrawn", 1), ("finished", 2)]


def test_agreement_queues_no_event(
    make_request: Callable[..., GenerationRequest],
    make_review: MakeReview,
    moderator: User,
    other_moderator: User,
) -> None:
    key, _ = ApiKey.make(name="shop", scopes=["generate"])
    order = make_request(
        status="succeeded",
        finished_at=timezone.now(),
        api_key=key,
        callback_url="https://shop.example/hook",
    )
    review = make_review(source=Source.TXT2IMG, request=order, position=0)
    judge(review, moderator, "approve")
    judge(review, other_moderator, "approve")

    assert list(Delivery.objects.values_list("kind", "round")) == [("finished", 1)]


# --- Concurrency ---
@pytest.mark.django_db(transaction=True)
def test_concurrent_people_give_exactly_one_second_opinion_per_review(
    make_review: MakeReview, moderator: User
) -> None:
    reviews = [make_review() for _ in range(12)]
    people = [User.objects.create_user(f"racer{number}") for number in range(5)]
    for person in people:
        person.groups.set(moderator.groups.all())
    faults: list[Exception] = []
    all_decided = threading.Barrier(len(people))

    def work(person: User) -> None:
        try:
            for queue in (QUEUES["waiting"], SECOND_OPINION_QUEUE):
                if queue is SECOND_OPINION_QUEUE:
                    all_decided.wait(30)
                while review := decisions.claim_next(user=person, queue=queue):
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
    for review in reviews:
        first, second = review.decisions.order_by("sequence")
        assert second.second_of == first
        assert first.reviewer != second.reviewer
        assert read_state(review) == ("approved", "agreed")
    assert verify_chain(Decision.objects.order_by("sequence")) == []


@pytest.mark.django_db(transaction=True)
def test_concurrent_undo_and_second_opinion_leave_review_pending(
    make_review: MakeReview, moderator: User, other_moderator: User
) -> None:
    firsts = []
    for _ in range(8):
        review = make_review()
        firsts.append(judge(review, moderator, "approve"))
        decisions.claim(review=review, user=other_moderator)
    gates = [threading.Barrier(2) for _ in firsts]
    faults: list[Exception] = []

    def run(act: Callable[[Decision], object]) -> None:
        try:
            for first, gate in zip(firsts, gates, strict=True):
                gate.wait(10)
                with suppress(decisions.DecisionError):
                    act(first)
        except Exception as error:
            faults.append(error)
        finally:
            connections.close_all()

    def undo(first: Decision) -> None:
        decisions.reverse(decision=Decision.objects.get(pk=first.pk), user=moderator)

    def differ(first: Decision) -> None:
        review = Review.objects.get(pk=first.review_id)
        decisions.decide(
            review=review, user=other_moderator, verdict=Verdict.REJECT, categories=REASON
        )

    threads = [threading.Thread(target=run, args=(act,)) for act in (undo, differ)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert faults == []
    for first in firsts:
        # In either order the undo wins: it cancels the second opinion or prevents it.
        assert read_state(first.review) == ("pending", "")
    assert verify_chain(Decision.objects.order_by("sequence")) == []
