"""What people do at the desk, as requests of the test client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from moderation.models import Classification, Review
from moderation.models.said import pack

HTMX = {"HX-Request": "true"}
Make = Callable[..., Review]
As = Callable[[User], Client]


def page_of(review: Review, queue: str = "") -> str:
    return review.get_absolute_url() + (f"?queue={queue}" if queue else "")


def start(client: Client, slug: str = "waiting", **extra: Any) -> Any:
    return client.post(reverse("moderation:claim-next", args=[slug]), **extra)


def decide(client: Client, review: Review, verdict: str, *, htmx: bool = False, **data: Any) -> Any:
    address = reverse("moderation:decision-create", args=[review.uuid])
    return client.post(address, {"verdict": verdict, **data}, headers=HTMX if htmx else {})


def held(make_review: Make, user: User) -> Review:
    review = make_review()
    assert review.claim_for(user)
    return review


def keep_said(review: Review) -> None:
    """As intake does when the last classifier has ended, for rows that a test has made itself."""
    Review.objects.filter(pk=review.pk).update(said=pack(Classification.objects.of(review.asset_id)))
