"""Random sequences of actions: replaying the record gives every review's status and counts."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from django.contrib.auth.models import User
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generation.models import Source
from moderation.models import DailyStats, Decision, Review, Verdict, WordStats, WordStatsProgress
from moderation.models.decisions import (
    is_blurred_after,
    keep_effective,
    status_after,
)
from moderation.services import decisions, statistics
from tests.moderation.page_helpers import MakeReview
from tests.moderation.record_helpers import verify_chain

PEOPLE = ("moderator", "other_moderator", "senior")
VERDICTS = (
    (Verdict.APPROVE, False),
    (Verdict.REJECT, False),
    (Verdict.ESCALATE, False),
    (Verdict.APPROVE, True),
)
Step = tuple[str, str, int]
NUMBERS = count()

steps = st.lists(
    st.tuples(
        st.sampled_from(
            ("judge", "judge", "judge", "reverse", "reverse", "blur", "claim", "skip", "count")
        ),
        st.sampled_from(PEOPLE),
        st.integers(0, 5),
    ),
    min_size=1,
    max_size=14,
)


def try_step(step: Step, review: Review, people: dict[str, User]) -> None:
    """Try one action, which may be refused."""
    act, name, number = step
    user = User.objects.get(pk=people[name].pk)
    try:
        if act == "judge":
            verdict, is_blurred = VERDICTS[number % 4]
            categories = ["gambling"] if verdict == Verdict.REJECT else []
            decisions.claim(review=review, user=user)
            decisions.decide(
                review=review,
                user=user,
                verdict=verdict,
                is_blurred=is_blurred,
                categories=categories,
            )
        elif act == "blur":
            decisions.change_blur(
                review=review, user=user, is_blurred=bool(number % 2), note="Why not"
            )
        elif act == "reverse":
            newest = Decision.objects.filter(review=review).newest_first()
            if newest:
                decisions.reverse(decision=newest[number % len(newest)], user=user, note="Why not")
        elif act == "claim":
            decisions.claim(review=review, user=user)
        elif act == "skip":
            decisions.skip(review=review, user=user)
        else:
            statistics.count_batch()
    except decisions.DecisionError:
        pass


def check_review(review: Review) -> None:
    review.refresh_from_db()
    stands = Decision.objects.list_effective(review)
    everything = list(review.decisions.select_related("second_of").order_by("sequence"))
    seconds = [row for row in stands if row.second_of_id is not None]
    firsts = [row for row in stands if row.second_of_id is None]

    assert keep_effective(everything) == stands
    assert review.status == status_after(stands)
    assert review.is_blurred == is_blurred_after(stands)
    assert review.decided_by_id == (firsts[-1].reviewer_id if review.is_decided else None)
    assert (review.decided_at is not None) == review.is_decided
    assert len({row.second_of_id for row in seconds}) == len(seconds)
    assert all(
        row.second_of is not None and row.reviewer_id != row.second_of.reviewer_id
        for row in seconds
    )
    expected = (
        {"disagreed"}
        if any(row.disagrees for row in seconds)
        else {"agreed"}
        if seconds
        else {"", "wanted"}
    )
    assert review.second_opinion in expected
    if review.second_opinion == "wanted":
        assert review.is_decided
    if review.claimed_by_id is not None:
        assert not review.is_decided or review.wants_opinion_of(review.claimed_by)


@pytest.fixture
def people(moderator: User, other_moderator: User, senior: User) -> dict[str, User]:
    return {"moderator": moderator, "other_moderator": other_moderator, "senior": senior}


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tries=steps, percent=st.sampled_from((0, 100, 100)))
def test_replayed_record_gives_every_status_and_count(
    tries: list[Step],
    percent: int,
    make_review: MakeReview,
    make_request: Any,
    people: dict[str, User],
    settings: Any,
) -> None:
    settings.SECOND_OPINION_PERCENT = percent
    word = "w" + "".join("abcdefghij"[int(digit)] for digit in str(next(NUMBERS))) + "x"
    order = make_request(prompt=f"A {word} in a boat", seed=next(NUMBERS))
    review = make_review(source=Source.TXT2IMG, request=order, position=0)
    before = WordStatsProgress.objects.get_or_create(pk=1)[0]
    figures = get_totals()

    for step in tries:
        try_step(step, review, people)
        check_review(review)

    assert verify_chain(Decision.objects.order_by("sequence")) == []
    while statistics.count_batch():
        pass
    after = WordStatsProgress.objects.get(pk=1)
    tally = WordStats.objects.filter(word=word).first() or WordStats(word=word)
    decided, rejected = int(review.is_decided), int(review.status == Review.Status.REJECTED)
    assert (tally.decided, tally.rejected) == (decided, rejected)
    assert after.sequence == (
        Decision.objects.order_by("-sequence").values_list("sequence", flat=True).first() or 0
    )
    # This example adds only its own image to the counts from before.
    assert (after.decided - before.decided, after.rejected - before.rejected) == (decided, rejected)
    check_figures(review, figures)


def get_totals() -> dict[str, int]:
    return (
        DailyStats.sum_since(DailyStats.objects.earliest("day").day).get("", {})
        if DailyStats.objects.exists()
        else {}
    )


def check_figures(review: Review, before: dict[str, int]) -> None:
    rows = list(
        review.decisions.select_related("second_of", "reverses__second_of").order_by("sequence")
    )
    after = get_totals()

    def grown(field: str) -> int:
        return after.get(field, 0) - before.get(field, 0)

    undone = {row.reverses_id for row in rows if row.reverses_id}
    own = {
        row.reverses_id
        for row in rows
        if row.reverses and row.reverses.reviewer_id == row.reviewer_id
    }
    firsts = [row for row in rows if row.second_of is None and row.verdict in ("approve", "reject")]
    seconds = [row for row in rows if row.second_of is not None and row.pk not in undone]
    assert grown("by_people") == len([row for row in firsts if row.pk not in own])
    assert grown("people_reversed") == len([row for row in firsts if row.pk in undone - own])
    assert grown("agreed") == len([row for row in seconds if not row.disagrees])
    assert grown("disagreed") == len([row for row in seconds if row.disagrees])
