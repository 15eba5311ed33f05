"""The page History: a person's own decisions, their reversal and second opinions on them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from moderation.models import Decision
from moderation.models.reviews import UNDO_WINDOW
from moderation.services import decisions
from tests.moderation.page_helpers import ClientOf, MakeReview, get_review_url
from tests.moderation.second_opinion_helpers import judge

HISTORY = "/history/"


def read_rows(text: str) -> list[str]:
    return text.split("data-rows>")[1].split("</ol>")[0].split("<li data-row>")[1:]


def test_history_lists_only_own_decisions_newest_first(
    client_of: ClientOf, make_review: MakeReview, moderator: User, other_moderator: User
) -> None:
    mine = [
        judge(make_review(), moderator, verdict) for verdict in ("approve", "reject", "escalate")
    ]
    judge(make_review(), other_moderator, "approve")

    rows = read_rows(client_of(moderator).get(HISTORY).content.decode())

    assert len(rows) == 3
    for row, decision in zip(rows, reversed(mine), strict=True):
        assert decision.review.asset.short_id in row
        assert f'href="{get_review_url(decision.review)}"' in row
        assert f'data-verdict="{decision.verdict}"' in row
        assert f'action="{reverse("moderation:decision-reverse", args=[decision.uuid])}"' in row
    assert "Weapons" in rows[1]


def test_history_shows_50_rows_within_query_limit(
    client_of: ClientOf,
    make_review: MakeReview,
    moderator: User,
    django_assert_max_num_queries: Any,
) -> None:
    review = make_review()
    for _ in range(26):
        decisions.reverse(decision=judge(review, moderator, "approve"), user=moderator)

    client = client_of(moderator)
    with django_assert_max_num_queries(11):
        text = client.get(HISTORY).content.decode()

    assert len(read_rows(text)) == 50


def test_row_shows_remaining_undo_time(
    client_of: ClientOf, make_review: MakeReview, moderator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    decision = judge(make_review(), moderator, "approve")
    client = client_of(moderator)
    now = decision.created_at + timedelta(minutes=4)

    with monkeypatch.context() as clock:
        clock.setattr(timezone, "now", lambda: now)
        assert 'data-left="360"' in client.get(HISTORY).content.decode()
        clock.setattr(
            timezone, "now", lambda: decision.created_at + UNDO_WINDOW + timedelta(seconds=1)
        )
        text = client.get(HISTORY).content.decode()

    assert "data-reverses" not in text
    assert "The undo window is over." in text
    assert ">undo window is over<" in text


def test_row_reverses_its_decision_without_script(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    first, second = (judge(make_review(), moderator, "approve") for _ in range(2))
    client = client_of(moderator)
    address = read_rows(client.get(HISTORY).content.decode())[1].split('action="')[1].split('"')[0]

    response = client.post(address)

    first.review.refresh_from_db()
    assert response["Location"] == get_review_url(first.review)
    assert first.review.status == "pending"
    second.review.refresh_from_db()
    assert second.review.status == "approved"


def test_row_gives_reason_why_decision_cannot_be_reversed(
    client_of: ClientOf,
    make_review: MakeReview,
    moderator: User,
    other_moderator: User,
    senior: User,
    settings: Any,
) -> None:
    overruled = judge(make_review(), moderator, "approve")
    decisions.reverse(decision=overruled, user=senior, note="Look again")
    settled = judge(make_review(), moderator, "escalate")
    judge(settled.review, senior, "approve")
    settings.SECOND_OPINION_PERCENT = 100
    dropped = judge(make_review(), other_moderator, "approve")
    fallen = judge(dropped.review, moderator, "approve")
    decisions.reverse(decision=dropped, user=other_moderator)

    rows = read_rows(client_of(moderator).get(HISTORY).content.decode())

    assert fallen.review.asset.short_id in rows[0]
    assert "no longer the last decision on its image" in rows[0]
    assert "no longer the last decision on its image" in rows[1]
    assert "has been reversed already" in rows[2]
    assert "reversed by senior" in rows[2]
    assert not [row for row in rows if "data-reverses" in row]


def test_own_reversals_are_listed_and_cannot_be_reversed(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    decisions.reverse(decision=judge(make_review(), moderator, "approve"), user=moderator)

    rows = read_rows(client_of(moderator).get(HISTORY).content.decode())

    assert "A reversal cannot be reversed" in rows[0]
    assert "reversed already" in rows[1]


def test_senior_can_reverse_own_decision_at_any_time(
    client_of: ClientOf, make_review: MakeReview, senior: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    decision = judge(make_review(), senior, "approve")
    later = decision.created_at + timedelta(hours=5)
    client = client_of(senior)
    monkeypatch.setattr(timezone, "now", lambda: later)

    row = read_rows(client.get(HISTORY).content.decode())[0]

    assert "possible at any time" in row
    assert "data-reverses" in row


def test_undo_hotkey_is_on_one_row_only(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    for _ in range(3):
        judge(make_review(), moderator, "approve")

    text = client_of(moderator).get(HISTORY).content.decode()

    assert text.count('data-hotkey="u"') == 1
    assert 'data-hotkey="j"' in text
    assert 'data-hotkey="k"' in text


def test_figures_count_only_own_decisions(
    client_of: ClientOf,
    make_review: MakeReview,
    moderator: User,
    other_moderator: User,
    senior: User,
    settings: Any,
) -> None:
    settings.SECOND_OPINION_PERCENT = 100
    for verdict in ("approve", "approve", "reject"):
        first = judge(make_review(), moderator, "approve")
        judge(first.review, other_moderator, verdict)
    theirs = judge(make_review(), other_moderator, "reject")
    judge(theirs.review, moderator, "reject")
    decisions.reverse(decision=judge(make_review(), moderator, "approve"), user=moderator)
    decisions.reverse(decision=judge(make_review(), moderator, "approve"), user=senior, note="No")

    def figures(user: User) -> list[str]:
        part = (
            client_of(user).get(HISTORY).content.decode().split("My figures")[1].split("</dl>")[0]
        )
        return [piece.split("<")[0] for piece in part.split('class="num">')[1:]]

    assert figures(moderator) == ["4", "3", "1", "1"]
    assert "75 %" in client_of(moderator).get(HISTORY).content.decode()
    assert figures(senior) == ["0", "0", "0", "0"]


def test_reversed_second_opinion_is_not_counted(
    client_of: ClientOf,
    make_review: MakeReview,
    moderator: User,
    other_moderator: User,
    settings: Any,
) -> None:
    settings.SECOND_OPINION_PERCENT = 100
    first = judge(make_review(), moderator, "approve")
    second = judge(first.review, other_moderator, "reject")
    decisions.reverse(decision=second, user=other_moderator)

    text = client_of(moderator).get(HISTORY).content.decode()

    assert '<dt>Double-checked</dt><dd class="num">0</dd>' in text
    assert Decision.objects.count() == 3


def test_history_without_decisions_says_so(client_of: ClientOf, auditor: User) -> None:
    assert "You have made no decisions yet" in client_of(auditor).get(HISTORY).content.decode()
