"""Webhook events over real sockets: after decisions and reversals, and their signature."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from generation.models import ApiKey, GenerationRequest
from generation.services import requests
from moderation import tasks
from moderation.api.webhooks import delivery
from moderation.models import Decision, Delivery, Policy, Review, Verdict
from moderation.policy_engine import Outcome, Settlement
from moderation.services import classification
from moderation.services import decisions as decision_service
from tests.generation.pipeline_helpers import run_line
from tests.moderation.api.calls import LocalServer
from tests.moderation.api.test_novita import body, result, submit
from tests.moderation.api.webhook_orders import (
    FINISHED,
    NUDITY,
    WHISKY,
    decide,
    decide_one,
    list_delivery_statuses,
    list_received_events,
    make_deliveries_due,
    submit_and_run,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("novita_sandbox")]


def status_of(path: str) -> int:
    answer = Client().get(path)
    answer.close()
    return answer.status_code


# --- Events of decisions ---
def test_request_decided_by_policy_sends_one_event(key: str, hook: LocalServer) -> None:
    submit_and_run(key, hook)

    for _ in range(3):
        tasks.deliver()
        make_deliveries_due()

    assert list_received_events(hook) == [FINISHED]
    assert list_delivery_statuses() == [("finished", 1, "delivered")]
    assert hook.posts[0].path == "/hook?secret=theirs"


def test_event_is_sent_after_last_image_is_decided(
    key: str, hook: LocalServer, moderator: User
) -> None:
    submit_and_run(key, hook, prompt=WHISKY, image_num=2)
    first, second = Review.objects.order_by("asset__position")
    tasks.deliver()
    decide_one(first, moderator, Verdict.APPROVE)
    tasks.deliver()
    assert hook.posts == []

    decide_one(second, moderator, Verdict.REJECT)
    tasks.deliver()
    tasks.deliver()

    assert list_received_events(hook) == [FINISHED]
    images = hook.posts[0].event["payload"]["extra"]["moderation"]["images"]
    assert [(image["verdict"], image["decided_by"]) for image in images] == [
        ("approved", "person"),
        ("rejected", "person"),
    ]


def test_request_decided_by_policy_and_person_sends_one_event(
    key: str, hook: LocalServer, moderator: User
) -> None:
    """One of two waiting images is decided by a person, the other by the policy."""
    task = submit_and_run(key, hook, prompt=WHISKY, image_num=2)
    first, second = Review.objects.order_by("asset__position")
    Review.objects.filter(pk=first.pk).update(status=Review.Status.CLASSIFYING)
    decide_one(second, moderator, Verdict.APPROVE)
    tasks.deliver()
    assert hook.posts == []
    settle_by_policy(first)
    tasks.deliver()

    assert list_received_events(hook) == [FINISHED]
    assert (
        result(key, task).json()["extra"]["moderation"]["images"]
        == (hook.posts[0].event["payload"]["extra"]["moderation"]["images"])
    )


def test_differing_audit_withdraws_the_images_of_the_policy(
    key: str, hook: LocalServer, moderator: User, settings: Any
) -> None:
    settings.AUDIT_APPROVED_PERCENT = 100
    task = submit_and_run(key, hook)
    tasks.deliver()
    (image,) = result(key, task).json()["images"]
    path = "/" + image["image_url"].split("/", 3)[3]
    assert status_of(path) == 200

    decide_one(Review.objects.get(), moderator, Verdict.REJECT)
    tasks.deliver()

    assert list_received_events(hook) == [FINISHED, ("withdrawn", 1, "TASK_STATUS_PROCESSING", 0)]
    assert status_of(path) == 403


def settle_by_policy(review: Review) -> None:
    review.refresh_from_db()
    settlement = Settlement(
        outcome=Outcome.REJECT, reason="A test.", categories=("alcohol.beverages",)
    )
    classification.apply_settlement(
        review=review, policy=Policy.objects.active(), settlement=settlement
    )


@pytest.mark.parametrize(
    ("prompt", "status", "images"),
    [("a harbour", "TASK_STATUS_SUCCEED", 1), (NUDITY, "TASK_STATUS_FAILED", 0)],
)
def test_event_payload_equals_task_result(
    key: str, hook: LocalServer, prompt: str, status: str, images: int
) -> None:
    task = submit_and_run(key, hook, prompt=prompt)
    tasks.deliver()

    (post,) = hook.posts
    event, read = post.event, result(key, task).json()
    assert set(event) == {"event_type", "payload"}
    assert event["event_type"] == "ASYNC_TASK_RESULT"
    payload = event["payload"]
    assert payload["task"]["status"] == status
    assert len(payload["images"]) == images
    assert payload["extra"].pop("webhook") == {"url": hook.url}
    assert {payload["extra"]["moderation"].pop(name) for name in ("event", "round")} == {
        "finished",
        1,
    }
    for answer in (payload, read):
        for image in answer["images"]:  # each response has a new signature
            image["image_url"] = re.sub(r":[\w:-]+\.png$", "", image["image_url"])
        answer["extra"].pop("webhook", None)
    assert payload == read


@pytest.mark.parametrize(("word", "reason"), [("fail", "."), ("corrupt", "stored")])
def test_request_failed_at_provider_sends_failed_event(
    key: str, hook: LocalServer, word: str, reason: str
) -> None:
    submit_and_run(key, hook, prompt=f"a harbour sandbox:{word}")
    run_line(rounds=6)
    assert tasks.deliver.is_due()
    tasks.deliver()
    tasks.deliver()

    assert list_received_events(hook) == [("finished", 1, "TASK_STATUS_FAILED", 0)]
    assert reason in hook.posts[0].event["payload"]["task"]["reason"]
    assert not tasks.deliver.is_due()


def test_cancelled_and_retried_requests_send_events(key: str, hook: LocalServer) -> None:
    submit(key, {**body(), "extra": {"webhook": {"url": hook.url}}})
    requests.cancel_request(request=GenerationRequest.objects.get())
    tasks.deliver()
    submit_and_run(key, hook, prompt="a harbour sandbox:fail")
    tasks.deliver()
    failed = GenerationRequest.objects.get(status="failed")
    GenerationRequest.objects.filter(pk=failed.pk).update(prompt="a harbour")
    failed.refresh_from_db()
    requests.retry_request(request=failed)
    tasks.deliver()
    run_line()
    tasks.deliver()

    failed_event = ("finished", 1, "TASK_STATUS_FAILED", 0)
    assert list_received_events(hook) == [
        failed_event,
        failed_event,
        ("finished", 2, "TASK_STATUS_SUCCEED", 1),
    ]


def test_request_without_webhook_sends_no_event(
    key: str, hook: LocalServer, moderator: User
) -> None:
    submit(key, body(prompt=WHISKY))
    submit(key, body(prompt="a harbour sandbox:fail"))
    run_line()
    decide(moderator, Verdict.APPROVE)
    tasks.deliver()

    assert not Delivery.objects.exists()
    assert not tasks.deliver.is_due()


# --- Signature and delivery id ---
def test_event_signature_verifies_with_secret_of_key(
    api_key: tuple[ApiKey, str],
    hook: LocalServer,
    client_of: Callable[[User], Client],
    moderator: User,
) -> None:
    row, key = api_key
    submit_and_run(key, hook, prompt="a harbour – ä, 港")
    before = int(time.time())
    tasks.deliver()

    (post,) = hook.posts
    fields = dict(part.split("=", 1) for part in post.headers["x-loupe-signature"].split(","))
    assert set(fields) == {"t", "v1"}
    assert before <= int(fields["t"]) <= time.time()
    secret = row.webhook_secret
    expected = hmac.new(
        secret.encode(), fields["t"].encode() + b"." + post.content, hashlib.sha256
    ).hexdigest()
    assert hmac.compare_digest(fields["v1"], expected)
    assert post.headers["content-type"] == "application/json"
    assert post.headers["x-loupe-delivery"] == str(Delivery.objects.get().uuid)
    assert secret != ApiKey.make(name="other", scopes=["generate"])[0].webhook_secret
    assert not {"authorization", "cookie"} & set(post.headers)
    ApiKey.objects.filter(pk=row.pk).update(owner=moderator)
    page = client_of(moderator).get("/developers/").content.decode()
    assert secret not in page, "it is shown only when the key is created"
    assert "secret=theirs" not in page


# --- Reversals ---
def test_reversal_sends_withdrawn_event_and_new_decision_next_round(
    key: str, hook: LocalServer, moderator: User, senior: User
) -> None:
    submit_and_run(key, hook, prompt=WHISKY, image_num=2)
    kept, _ = decide(moderator, Verdict.APPROVE, Verdict.REJECT)
    tasks.deliver()
    address = hook.posts[0].event["payload"]["images"][0]["image_url"]
    path = "/" + address.split("/", 3)[3]
    assert status_of(path) == 200

    decision_service.reverse(decision=kept, user=senior, note="second thoughts")
    assert status_of(path) == 403, "at once, before the event is sent"
    tasks.deliver()
    assert list_received_events(hook)[1:] == [("withdrawn", 1, "TASK_STATUS_PROCESSING", 0)]
    assert status_of(path) == 403

    decide_one(kept.review, senior, Verdict.REJECT)
    tasks.deliver()
    tasks.deliver()
    assert list_received_events(hook)[2:] == [("finished", 2, "TASK_STATUS_FAILED", 0)]
    assert list_delivery_statuses() == [
        ("finished", 1, "delivered"),
        ("withdrawn", 1, "delivered"),
        ("finished", 2, "delivered"),
    ]
    assert len({post.headers["x-loupe-delivery"] for post in hook.posts}) == 3


def test_two_reversals_of_one_request_send_one_withdrawn_event(
    key: str, hook: LocalServer, moderator: User, senior: User
) -> None:
    submit_and_run(key, hook, prompt=WHISKY, image_num=2)
    decisions = decide(moderator, Verdict.APPROVE, Verdict.APPROVE)
    tasks.deliver()
    for decision in decisions:
        decision_service.reverse(decision=decision, user=senior, note="second thoughts")
    tasks.deliver()

    assert [kind for kind, *_ in list_received_events(hook)] == ["finished", "withdrawn"]


def test_reversal_before_first_event_sends_only_withdrawn_event(
    key: str, hook: LocalServer, moderator: User, senior: User
) -> None:
    submit_and_run(key, hook, prompt=WHISKY)
    (decision,) = decide(moderator, Verdict.APPROVE)
    decision_service.reverse(decision=decision, user=senior, note="second thoughts")
    tasks.deliver()

    # The program may have polled the result, so it needs the withdrawn event.
    assert list_received_events(hook) == [("withdrawn", 1, "TASK_STATUS_PROCESSING", 0)]
    assert Delivery.objects.first().error == delivery.OUTDATED


def test_unsent_outdated_events_are_replaced_by_latest_event(
    key: str, hook: LocalServer, moderator: User, senior: User
) -> None:
    submit_and_run(key, hook, prompt=WHISKY)
    (decision,) = decide(moderator, Verdict.REJECT)
    decision_service.reverse(decision=decision, user=senior, note="second thoughts")
    decide_one(decision.review, senior, Verdict.APPROVE)
    tasks.deliver()

    assert list_received_events(hook) == [("finished", 2, "TASK_STATUS_SUCCEED", 1)]
    assert list_delivery_statuses() == [
        ("finished", 1, "failed"),
        ("withdrawn", 1, "failed"),
        ("finished", 2, "delivered"),
    ]


def test_events_keep_their_order_during_retries(
    key: str, hook: LocalServer, moderator: User, senior: User
) -> None:
    submit_and_run(key, hook, prompt=WHISKY)
    (decision,) = decide(moderator, Verdict.APPROVE)
    tasks.deliver()
    decision_service.reverse(decision=decision, user=senior, note="second thoughts")
    hook.replies = [500]
    tasks.deliver()
    decide_one(decision.review, senior, Verdict.APPROVE)
    decision_service.reverse(
        decision=Decision.objects.newest_first()[0], user=senior, note="third thoughts"
    )
    # The first withdrawn event waits for its second attempt, and later events wait for it.
    tasks.deliver()
    assert len(hook.posts) == 2
    make_deliveries_due()
    tasks.deliver()

    assert [(kind, number) for kind, number, *_ in list_received_events(hook)] == [
        ("finished", 1),
        ("withdrawn", 1),
        ("withdrawn", 2),
    ]
    sent = [
        datetime.fromtimestamp(int(post.headers["x-loupe-signature"][2:12])) for post in hook.posts
    ]
    assert sent == sorted(sent)
