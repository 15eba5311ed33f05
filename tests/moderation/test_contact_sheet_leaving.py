"""Leaving a contact sheet: what is given back, when, and by whom."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from moderation.models import Review
from tests.moderation.contact_sheet_helpers import claim, sheet
from tests.moderation.page_helpers import As, Make

ADDRESS = "/queues/waiting/sheet/"


def ends(reviews: list[Review]) -> list[float]:
    """Seconds that each is held for still."""
    rows = [Review.objects.get(pk=review.pk).claimed_until for review in reviews]
    return [(until - timezone.now()).total_seconds() if until else 0 for until in rows]


def known(client: Client) -> str:
    """When the claims of the sheet end, as its page is told."""
    return re.findall(r'data-until="([^"]+)"', sheet(client))[0]


def test_what_is_left_lingers_and_lapses(client_of: As, make_review: Make, moderator: User) -> None:
    reviews, client = [make_review() for _ in range(3)], client_of(moderator)
    claim(client)

    client.post(
        "/claims/release/", {"lingers": [str(one.uuid) for one in reviews], "until": known(client)}
    )

    assert all(20 < left <= 30 for left in ends(reviews))
    again = {"lingers": [str(one.uuid) for one in reviews]}
    Review.objects.update(claimed_until=timezone.now() + timedelta(seconds=5))
    client.post("/claims/release/", again)
    assert all(left <= 5 for left in ends(reviews)), "nobody holds anything for longer by leaving"


@pytest.mark.parametrize("name", ["lingers", "have"])
def test_what_another_page_has_renewed_is_not_given_back_by_the_one_that_is_left(
    client_of: As, make_review: Make, moderator: User, name: str
) -> None:
    reviews, client = [make_review() for _ in range(3)], client_of(moderator)
    claim(client)
    left = {name: [str(one.uuid) for one in reviews], "until": known(client)}
    renewed = client.post(
        "/claims/renewal/", {"have": [str(one.uuid) for one in reviews[:2]]}
    ).json()

    client.post("/claims/release/", left)

    assert [left > 200 for left in ends(reviews)] == [True, True, False]
    # And the page that renewed them gives them back in its turn.
    client.post("/claims/release/", {**left, "until": renewed["until"]})
    assert all(left <= 30 for left in ends(reviews))


@pytest.mark.parametrize(
    "until", ["", "yesterday", "2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00"]
)
def test_a_time_that_no_page_names_keeps_nothing_held(
    client_of: As, make_review: Make, moderator: User, until: str
) -> None:
    review, client = make_review(), client_of(moderator)
    claim(client)

    assert (
        client.post("/claims/release/", {"have": [str(review.uuid)], "until": until}).status_code
        == 204
    )

    assert Review.objects.held_by(moderator).count() == 0
