"""The page Quality: agreement of the team, for readers of Insights, without names."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from moderation.models import DailyStats, Review, WordStatsProgress
from moderation.services import decisions, statistics
from tests.moderation.page_helpers import ClientOf, MakeReview
from tests.moderation.second_opinion_helpers import judge

QUALITY = "/quality/"


def test_quality_page_is_for_all_who_read_insights(
    client_of: ClientOf, moderator: User, senior: User, lead: User, auditor: User
) -> None:
    people = (moderator, auditor, senior, lead)

    assert [client_of(person).get(QUALITY).status_code for person in people] == [
        *(403, 200, 200, 200)
    ]
    home = {person: client_of(person).get("/").content.decode() for person in people}
    assert ['href="/insights/"' in home[person] for person in people] == [
        *(False, True, True, True)
    ]


def test_quality_page_needs_at_most_ten_queries(client_of: ClientOf, auditor: User) -> None:
    client = client_of(auditor)
    client.get(QUALITY)

    with CaptureQueriesContext(connection) as queries:
        assert client.get(f"{QUALITY}?days=90").status_code == 200

    assert len(queries) <= 10


def read_row(text: str, name: str) -> list[str]:
    row = text.split(f'<th scope="row">{name}</th>')[1].split("</tr>")[0]
    return [cell.split(">", 1)[1].split("<")[0] for cell in row.split("<td")[1:]]


def read_figure(text: str, name: str) -> str:
    return text.split(f"<dt>{name}</dt><dd>")[1].split("</dd>")[0]


def test_quality_page_shows_sums_without_names(
    client_of: ClientOf,
    make_review: MakeReview,
    moderator: User,
    other_moderator: User,
    senior: User,
    settings: Any,
) -> None:
    settings.SECOND_OPINION_PERCENT = 100
    for l1, verdict in (("alcohol", "approve"), ("alcohol", "reject"), ("violence", "approve")):
        review = make_review()
        Review.objects.filter(pk=review.pk).update(top_category=l1, top_category_l1=l1)
        judge(review, moderator, "approve")
        judge(review, other_moderator, verdict)
    reversed_one = judge(make_review(), moderator, "approve")
    decisions.reverse(decision=reversed_one, user=senior, note="No")
    judge(make_review(), moderator, "approve")
    WordStatsProgress.objects.get_or_create(pk=1)
    statistics.count_record(go_on=lambda: True)

    text = client_of(senior).get(QUALITY).content.decode()

    assert read_figure(text, "of second opinions agree") == "67 %"
    assert read_figure(text, "disagreements") == "1"
    assert read_figure(text, "second opinions wanted now") == "1"
    assert read_figure(text, "of people's decisions reversed by others") == "20 %"
    assert read_row(text, "Alcohol")[:4] == ["2", "1", "50 %", "2"]
    assert read_row(text, "Violence")[:4] == ["1", "0", "100 %", "1"]
    assert read_row(text, "No category")[3:5] == ["2", "50 %"]
    page = text.split("<main")[1]
    assert [
        name
        for name in ("moderator", "other", "senior")
        if f">{name}<" in page or f" {name} " in page
    ] == []


@pytest.mark.parametrize(
    ("days", "expected"), [("7", "1"), ("30", "3"), ("90", "7"), ("", "3"), ("5000", "3")]
)
def test_days_parameter_selects_the_period(
    client_of: ClientOf, senior: User, days: str, expected: str
) -> None:
    today = timezone.now().date()
    for ago, disagreed in ((6, 1), (7, 2), (30, 4), (90, 8)):
        DailyStats.objects.create(day=today - timedelta(days=ago), l1="", disagreed=disagreed)

    text = client_of(senior).get(f"{QUALITY}?days={days}").content.decode()

    assert read_figure(text, "disagreements") == expected


def test_shares_of_few_cases_are_faint_and_of_none_a_dash(
    client_of: ClientOf, senior: User
) -> None:
    DailyStats.objects.create(day=timezone.now().date(), l1="alcohol", agreed=19)
    DailyStats.objects.create(day=timezone.now().date(), l1="violence", agreed=19, disagreed=1)

    text = client_of(senior).get(QUALITY).content.decode()

    assert 'class="num faint">100 %<span class="visually-hidden"> of too few' in text
    assert 'class="num">95 %</td>' in text
    assert read_row(text, "Gambling")[2] == "–"


def test_quality_page_mentions_uncounted_decisions(
    client_of: ClientOf, make_review: MakeReview, moderator: User, senior: User
) -> None:
    judge(make_review(), moderator, "approve")

    assert "decision not counted yet" in client_of(senior).get(QUALITY).content.decode()


def test_quality_page_stays_within_query_limit(
    client_of: ClientOf, senior: User, django_assert_max_num_queries: Any
) -> None:
    client = client_of(senior)

    with django_assert_max_num_queries(10):
        client.get(f"{QUALITY}?days=90")
