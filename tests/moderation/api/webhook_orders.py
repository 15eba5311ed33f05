"""Helpers for webhook tests: an API key, a local webhook server and the received events."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from moderation.models import Decision, Delivery, Review, Verdict
from moderation.services import decisions
from tests.generation.pipeline_helpers import run_line
from tests.moderation.api.calls import LocalServer
from tests.moderation.api.test_novita import body, submit

# Prompts: a person decides on WHISKY, the policy rejects NUDITY.
WHISKY, NUDITY = "a whisky bottle", "sandbox:explicit.nudity@99"


def submit_and_run(key: str, hook: LocalServer, **fields: Any) -> str:
    """Submit a request over HTTP, run all jobs, and return the task's identifier.

    Afterwards the images are stored and classified, and the policy has decided where it can.
    """
    answer = submit(key, {**body(**fields), "extra": {"webhook": {"url": hook.url}}})
    assert answer.status_code == 200, answer.content
    run_line()
    return str(answer.json()["task_id"])


def decide(user: User, *verdicts: str) -> list[Decision]:
    """Decide all waiting reviews, in the order of the images."""
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


def make_deliveries_due() -> None:
    Delivery.objects.filter(due_at__isnull=False).update(
        due_at=timezone.now() - timedelta(seconds=1)
    )


def list_delivery_statuses() -> list[tuple[str, int, str]]:
    return list(Delivery.objects.order_by("pk").values_list("kind", "round", "status"))


def list_received_events(hook: LocalServer) -> list[tuple[str, int, str, int]]:
    """Return kind, round, task status and number of images of every received event."""
    return [
        (
            e["extra"]["moderation"]["event"],
            e["extra"]["moderation"]["round"],
            e["task"]["status"],
            len(e["images"]),
        )
        for e in (post.event["payload"] for post in hook.posts)
    ]


FINISHED = ("finished", 1, "TASK_STATUS_SUCCEED", 1)
