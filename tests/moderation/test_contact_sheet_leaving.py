"""Leaving a contact sheet: release and expiry of its claims."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from moderation.models import Review
from tests.moderation.contact_sheet_helpers import claim_sheet, fetch_sheet
from tests.moderation.page_helpers import ClientOf, MakeReview

ADDRESS = "/queues/waiting/sheet/"


def seconds_until_expiry(reviews: list[Review]) -> list[float]:
    """Return the seconds until each claim expires, or 0 without a claim."""
    rows = [Review.objects.get(pk=review.pk).claimed_until for review in reviews]
    return [(until - timezone.now()).total_seconds() if until else 0 for until in rows]


def read_claim_expiry(client: Client) -> str:
    """Return the timestamp on the page at which the claims of the sheet expire."""
    return re.findall(r'data-until="([^"]+)"', fetch_sheet(client))[0]


def test_leaving_a_sheet_shortens_its_claims(
    client_of: ClientOf, make_review: MakeReview, moderator: User
) -> None:
    reviews, client = [make_review() for _ in range(3)], client_of(moderator)
    claim_sheet(client)

    client.post(
        "/claims/release/",
        {"lingers": [str(one.uuid) for one in reviews], "until": read_claim_expiry(client)},
    )

    assert all(20 < left <= 30 for left in seconds_until_expiry(reviews))
    again = {"lingers": [str(one.uuid) for one in reviews]}
    Review.objects.update(claimed_until=timezone.now() + timedelta(seconds=5))
    client.post("/claims/release/", again)
    assert all(left <= 5 for left in seconds_until_expiry(reviews)), (
        "leaving must not extend a claim"
    )


@pytest.mark.parametrize("name", ["lingers", "have"])
def test_leaving_a_sheet_keeps_claims_renewed_by_another_page(
    client_of: ClientOf, make_review: MakeReview, moderator: User, name: str
) -> None:
    reviews, client = [make_review() for _ in range(3)], client_of(moderator)
    claim_sheet(client)
    left = {name: [str(one.uuid) for one in reviews], "until": read_claim_expiry(client)}
    renewed = client.post(
        "/claims/renewal/", {"have": [str(one.uuid) for one in reviews[:2]]}
    ).json()

    client.post("/claims/release/", left)

    assert [left > 200 for left in seconds_until_expiry(reviews)] == [True, True, False]
    # The page that renewed the claims can release them.
    client.post("/claims/release/", {**left, "until": renewed["until"]})
    assert all(left <= 30 for left in seconds_until_expiry(reviews))


@pytest.mark.parametrize(
    "until", ["", "yesterday", "2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00"]
)
def test_release_with_invalid_expiry_releases_the_claim(
    client_of: ClientOf, make_review: MakeReview, moderator: User, until: str
) -> None:
    review, client = make_review(), client_of(moderator)
    claim_sheet(client)

    assert (
        client.post("/claims/release/", {"have": [str(review.uuid)], "until": until}).status_code
        == 204
    )

    assert Review.objects.held_by(moderator).count() == 0
