"""The counters beside the image and on the page Today."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from moderation import queues
from moderation.models import Review, Verdict
from moderation.models.found_categories import BITS
from moderation.models.reviews import CLAIM_LASTS
from moderation.presenters import counters
from moderation.presenters.counters import load_counts
from moderation.queues import QUEUES
from moderation.services import decisions
from tests.moderation.page_helpers import MakeReview, make_claimed_review
from tests.moderation.second_opinion_helpers import judge

pytestmark = pytest.mark.django_db


def queue_counts(user: User) -> dict[str, str]:
    return {depth.queue.slug: depth.count for depth in load_counts(user).depths}


def verdict_counts(user: User) -> dict[str, int]:
    return {str(verdict): count for verdict, _, count in load_counts(user).verdicts}


def decide_new_review(make_review: MakeReview, user: User, verdict: Verdict, **given: Any) -> Any:
    return decisions.decide(
        review=make_claimed_review(make_review, user), user=user, verdict=verdict, **given
    )


def test_queues_are_counted_by_permissions_and_claims(
    make_review: MakeReview, moderator: User, senior: User
) -> None:
    first = make_review()
    judge(make_review(), moderator, "escalate")
    make_claimed_review(make_review, moderator)

    assert queue_counts(moderator) == {"waiting": "2", "second-opinion": "0", "mine": "1"}
    assert queue_counts(senior) == {
        "waiting": "2",
        "escalated": "1",
        "second-opinion": "0",
        "mine": "0",
    }
    assert load_counts(moderator).depths[0].since == first.created_at
    assert load_counts(senior).depths[-1].since is None


def test_lapsed_claim_is_not_counted_as_own(make_review: MakeReview, moderator: User) -> None:
    """The SQL text was cached while the claim was valid."""
    review = make_claimed_review(make_review, moderator)
    assert queue_counts(moderator)["mine"] == "1"

    Review.objects.filter(pk=review.pk).update(claimed_until=timezone.now() - CLAIM_LASTS)

    assert queue_counts(moderator)["mine"] == "0"


def test_count_stops_at_the_limit(
    make_review: MakeReview, moderator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "COUNT_LIMIT", 2)
    # The cached SQL text contains the limit.
    monkeypatch.setattr(counters, "_build_query", counters._build_query.__wrapped__)
    for _ in range(4):
        make_review()

    assert load_counts(moderator).depths[0].count == "2+"


def test_decisions_of_today_are_counted_without_reversed_ones(
    make_review: MakeReview, moderator: User, other_moderator: User, senior: User
) -> None:
    decide_new_review(make_review, moderator, Verdict.APPROVE)
    undone = decide_new_review(make_review, moderator, Verdict.APPROVE)
    by_a_senior = decide_new_review(
        make_review, moderator, Verdict.REJECT, categories=["alcohol.use"]
    )
    decide_new_review(make_review, moderator, Verdict.REJECT, categories=["alcohol.use"])
    decide_new_review(make_review, moderator, Verdict.ESCALATE, note="Is this a costume?")
    decide_new_review(make_review, other_moderator, Verdict.APPROVE)
    decisions.reverse(decision=undone, user=moderator)
    decisions.reverse(decision=by_a_senior, user=senior, note="It is water.")

    assert verdict_counts(moderator) == {"approve": 1, "reject": 1, "escalate": 1}
    assert verdict_counts(other_moderator) == {"approve": 1, "reject": 0, "escalate": 0}


def test_decisions_of_yesterday_are_not_counted(
    make_review: MakeReview, moderator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide_new_review(make_review, moderator, Verdict.APPROVE)
    tomorrow = timezone.now() + timedelta(days=1)

    monkeypatch.setattr(timezone, "now", lambda: tomorrow)

    assert verdict_counts(moderator) == {"approve": 0, "reject": 0, "escalate": 0}


def test_all_counters_take_one_query(make_review: MakeReview, senior: User) -> None:
    make_review()

    senior.get_all_permissions()

    with CaptureQueriesContext(connection) as seen:
        load_counts(senior)

    assert len(seen) == 1


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL plans by what it has counted")
def test_decisions_of_today_are_counted_by_covering_index(moderator: User) -> None:
    moderator.get_all_permissions()
    with CaptureQueriesContext(connection) as seen:
        load_counts(moderator)
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {seen[0]['sql']}")
        steps = [str(step[3]) for step in cursor.fetchall()]

    mine = [step for step in steps if "decision_mine" in step]
    assert len(mine) == 2 * len(counters.PAST)
    assert all(
        "USING COVERING INDEX decision_mine (reviewer_id=? AND sequence>?)" in step for step in mine
    ), mine


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL plans by what it has counted")
@pytest.mark.parametrize(
    "others", [{"source": "upload"}, {"provider": "novita"}, {"source": "txt2img", "provider": "x"}]
)
def test_category_filter_uses_category_index_before_other_filters(
    moderator: User, others: dict[str, str]
) -> None:
    """An index on the source would read many rows if none has the category."""
    rows = QUEUES["waiting"].narrowed({"category": "rude-gestures", **others}).reviews(moderator)

    index = f"INDEX review_found_{BITS['rude-gestures']} (decided_at=? AND status=?)"
    assert f"COVERING {index}" in rows.values("pk").explain()
    assert index in rows.order_by("-risk", "pk").explain()
