"""Helpers for tests of second opinions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from moderation.models import Decision, Review, Verdict
from moderation.services import decisions
from tests.moderation.page_helpers import decide

REASON = ["violence.weapons"]
NOTE = "The blade is real"


def judge(review: Review, user: User, verdict: str, note: str = "") -> Decision:
    decisions.claim(review=review, user=user)
    categories = REASON if verdict == Verdict.REJECT else []
    return decisions.decide(
        review=review, user=user, verdict=Verdict(verdict), categories=categories, note=note
    )


def judge_over_http(client: Client, review: Review, verdict: str, **data: Any) -> Any:
    given = {"categories": REASON} if verdict == Verdict.REJECT else {}
    client.post(reverse("moderation:review-claim", args=[review.uuid]))
    return decide(client, review, verdict, **{**given, **data})


def read_state(review: Review) -> tuple[str, str]:
    review.refresh_from_db()
    return str(review.status), str(review.second_opinion)


def verdicts(rows: Iterable[Decision]) -> list[tuple[str, str]]:
    return [(row.reviewer_name, str(row.verdict)) for row in rows]
