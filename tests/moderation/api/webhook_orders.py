"""A program that orders images and wants to be told: its key, its server, and what it was told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from generation.models import ApiKey
from moderation.models import Decision, Delivery, Review, Verdict
from moderation.services import decisions
from tests.generation.test_pipeline import run_line
from tests.moderation.api.calls import Shelf, shelf
from tests.moderation.api.test_novita import body, submit

WHISKY, NUDITY = (
    "a whisky bottle",
    "sandbox:explicit.nudity@99",
)  # a person decides; the policy rejects


@pytest.fixture
def api_key() -> tuple[ApiKey, str]:
    return ApiKey.make(name="shop", scopes=["generate"])


@pytest.fixture
def key(api_key: tuple[ApiKey, str]) -> str:
    return api_key[1]


@pytest.fixture
def hook(settings: Any) -> Iterator[Shelf]:
    """A program's server."""
    with shelf() as found:
        settings.CALLER_ALLOW = [*settings.CALLER_ALLOW, found.address]
        yield found


def order(key: str, hook: Shelf, **fields: Any) -> str:
    """Submit over HTTP and let the line run: the images are there, judged, and decided as far as
    the policy goes.
    """
    answer = submit(key, {**body(**fields), "extra": {"webhook": {"url": hook.url}}})
    assert answer.status_code == 200, answer.content
    run_line()
    return str(answer.json()["task_id"])


def decide(user: User, *verdicts: str) -> list[Decision]:
    """The waiting reviews, in the order of the images."""
    waiting = Review.objects.waiting().order_by("asset__position")
    return [
        decide_one(review, user, verdict)
        for review, verdict in zip(list(waiting), verdicts, strict=True)
    ]


def decide_one(review: Review, user: User, verdict: str) -> Decision:
    decisions.claim(review=review, user=user)
    categories = ["alcohol.beverages"] if verdict == Verdict.REJECT else []
    return decisions.decide(
        review=review, user=user, verdict=Verdict(verdict), categories=categories
    )


def later() -> None:
    Delivery.objects.filter(due_at__isnull=False).update(
        due_at=timezone.now() - timedelta(seconds=1)
    )


def statuses() -> list[tuple[str, int, str]]:
    return list(Delivery.objects.order_by("pk").values_list("kind", "round", "status"))


def told(hook: Shelf) -> list[tuple[str, int, str, int]]:
    """Of every event: its kind and round, the task's status, and how many images it hands out."""
    return [
        (
            e["extra"]["moderation"]["event"],
            e["extra"]["moderation"]["round"],
            e["task"]["status"],
            len(e["images"]),
        )
        for e in (letter.event["payload"] for letter in hook.letters)
    ]


FINISHED = ("finished", 1, "TASK_STATUS_SUCCEED", 1)
