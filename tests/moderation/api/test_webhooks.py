"""Events to programs, over real sockets: what is told when all is decided, by a reversal, and how
it is signed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from datetime import datetime

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
from moderation.services import decisions as desk
from tests.generation.test_pipeline import run_line
from tests.moderation.api.calls import Shelf
from tests.moderation.api.test_novita import _sandbox, body, result, submit
from tests.moderation.api.webhook_orders import (
    FINISHED,
    NUDITY,
    WHISKY,
    api_key,
    decide,
    decide_one,
    hook,
    key,
    later,
    order,
    statuses,
    told,
)

__all__ = ["_sandbox", "api_key", "hook", "key"]  # fixtures
pytestmark = pytest.mark.django_db(transaction=True)


def status_of(path: str) -> int:
    answer = Client().get(path)
    answer.close()
    return answer.status_code


# --- What is told ---
def test_what_the_policy_decides_alone_is_told_once(key: str, hook: Shelf) -> None:
    order(key, hook)

    for _ in range(3):
        tasks.deliver()
        later()

    assert told(hook) == [FINISHED]
    assert statuses() == [("finished", 1, "delivered")]
    assert hook.letters[0].path == "/hook?secret=theirs"


def test_nothing_is_told_before_the_last_image_is_decided(
    key: str, hook: Shelf, moderator: User
) -> None:
    order(key, hook, prompt=WHISKY, image_num=2)
    first, second = Review.objects.order_by("asset__position")
    tasks.deliver()
    decide_one(first, moderator, Verdict.APPROVE)
    tasks.deliver()
    assert hook.letters == []

    decide_one(second, moderator, Verdict.REJECT)
    tasks.deliver()
    tasks.deliver()

    assert told(hook) == [FINISHED]
    images = hook.letters[0].event["payload"]["extra"]["moderation"]["images"]
    assert [(image["verdict"], image["decided_by"]) for image in images] == [
        ("approved", "person"),
        ("rejected", "person"),
    ]


def test_policy_and_person_together(key: str, hook: Shelf, moderator: User) -> None:
    """Two images that wait for a person, of which one turns out to have been the policy's."""
    task = order(key, hook, prompt=WHISKY, image_num=2)
    first, second = Review.objects.order_by("asset__position")
    Review.objects.filter(pk=first.pk).update(status=Review.Status.CLASSIFYING)
    decide_one(second, moderator, Verdict.APPROVE)
    tasks.deliver()
    assert hook.letters == []
    settle_by_policy(first)
    tasks.deliver()

    assert told(hook) == [FINISHED]
    assert (
        result(key, task).json()["extra"]["moderation"]["images"]
        == (hook.letters[0].event["payload"]["extra"]["moderation"]["images"])
    )


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
def test_the_payload_is_the_task_result(
    key: str, hook: Shelf, prompt: str, status: str, images: int
) -> None:
    task = order(key, hook, prompt=prompt)
    tasks.deliver()

    (letter,) = hook.letters
    event, read = letter.event, result(key, task).json()
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
        for image in answer["images"]:  # signed anew each time
            image["image_url"] = re.sub(r":[\w:-]+\.png$", "", image["image_url"])
        answer["extra"].pop("webhook", None)
    assert payload == read


@pytest.mark.parametrize(("word", "reason"), [("fail", "."), ("corrupt", "stored")])
def test_a_request_that_failed_at_the_provider_is_told_too(
    key: str, hook: Shelf, word: str, reason: str
) -> None:
    order(key, hook, prompt=f"a harbour sandbox:{word}")
    run_line(rounds=6)
    assert tasks.deliver.is_due()
    tasks.deliver()
    tasks.deliver()

    assert told(hook) == [("finished", 1, "TASK_STATUS_FAILED", 0)]
    assert reason in hook.letters[0].event["payload"]["task"]["reason"]
    assert not tasks.deliver.is_due()


def test_a_cancelled_request_is_told_and_one_that_is_retried_is_told_again(
    key: str, hook: Shelf
) -> None:
    submit(key, {**body(), "extra": {"webhook": {"url": hook.url}}})
    requests.cancel_request(request=GenerationRequest.objects.get())
    tasks.deliver()
    order(key, hook, prompt="a harbour sandbox:fail")
    tasks.deliver()
    failed = GenerationRequest.objects.get(status="failed")
    GenerationRequest.objects.filter(pk=failed.pk).update(prompt="a harbour")
    failed.refresh_from_db()
    requests.retry_request(request=failed)
    tasks.deliver()
    run_line()
    tasks.deliver()

    failed_event = ("finished", 1, "TASK_STATUS_FAILED", 0)
    assert told(hook) == [failed_event, failed_event, ("finished", 2, "TASK_STATUS_SUCCEED", 1)]


def test_who_asked_for_no_event_gets_none(key: str, hook: Shelf, moderator: User) -> None:
    submit(key, body(prompt=WHISKY))
    submit(key, body(prompt="a harbour sandbox:fail"))
    run_line()
    decide(moderator, Verdict.APPROVE)
    tasks.deliver()

    assert not Delivery.objects.exists()
    assert not tasks.deliver.is_due()


# --- Signature and delivery id ---
def test_the_signature_verifies_with_the_keys_secret(
    api_key: tuple[ApiKey, str], hook: Shelf, client_of: Callable[[User], Client], moderator: User
) -> None:
    row, key = api_key
    order(key, hook, prompt="a harbour – ä, 港")
    tasks.deliver()

    (letter,) = hook.letters
    fields = dict(part.split("=", 1) for part in letter.headers["x-loupe-signature"].split(","))
    assert set(fields) == {"t", "v1"}
    assert abs(time.time() - int(fields["t"])) < 60
    secret = row.webhook_secret
    expected = hmac.new(
        secret.encode(), fields["t"].encode() + b"." + letter.content, hashlib.sha256
    ).hexdigest()
    assert hmac.compare_digest(fields["v1"], expected)
    assert letter.headers["content-type"] == "application/json"
    assert letter.headers["x-loupe-delivery"] == str(Delivery.objects.get().uuid)
    assert secret != ApiKey.make(name="other", scopes=["generate"])[0].webhook_secret
    assert not {"authorization", "cookie"} & set(letter.headers)
    ApiKey.objects.filter(pk=row.pk).update(owner=moderator)
    page = client_of(moderator).get("/developers/").content.decode()
    assert secret not in page, "it was shown when the key was made"
    assert "secret=theirs" not in page


# --- Reversals ---
def test_a_reversal_withdraws_and_a_new_decision_is_told_as_the_next_round(
    key: str, hook: Shelf, moderator: User, senior: User
) -> None:
    order(key, hook, prompt=WHISKY, image_num=2)
    kept, _ = decide(moderator, Verdict.APPROVE, Verdict.REJECT)
    tasks.deliver()
    address = hook.letters[0].event["payload"]["images"][0]["image_url"]
    path = "/" + address.split("/", 3)[3]
    assert status_of(path) == 200

    desk.reverse(decision=kept, user=senior, note="second thoughts")
    assert status_of(path) == 403, "at once, before anybody is told"
    tasks.deliver()
    assert told(hook)[1:] == [("withdrawn", 1, "TASK_STATUS_PROCESSING", 0)]
    assert status_of(path) == 403

    decide_one(kept.review, senior, Verdict.REJECT)
    tasks.deliver()
    tasks.deliver()
    assert told(hook)[2:] == [("finished", 2, "TASK_STATUS_FAILED", 0)]
    assert statuses() == [
        ("finished", 1, "delivered"),
        ("withdrawn", 1, "delivered"),
        ("finished", 2, "delivered"),
    ]
    assert len({letter.headers["x-loupe-delivery"] for letter in hook.letters}) == 3


def test_two_reversals_of_one_request_withdraw_it_once(
    key: str, hook: Shelf, moderator: User, senior: User
) -> None:
    order(key, hook, prompt=WHISKY, image_num=2)
    decisions = decide(moderator, Verdict.APPROVE, Verdict.APPROVE)
    tasks.deliver()
    for decision in decisions:
        desk.reverse(decision=decision, user=senior, note="second thoughts")
    tasks.deliver()

    assert [kind for kind, *_ in told(hook)] == ["finished", "withdrawn"]


def test_a_reversal_before_the_first_event_was_sent_gives_no_stale_one(
    key: str, hook: Shelf, moderator: User, senior: User
) -> None:
    order(key, hook, prompt=WHISKY)
    (decision,) = decide(moderator, Verdict.APPROVE)
    desk.reverse(decision=decision, user=senior, note="second thoughts")
    tasks.deliver()

    # The program may have read the result itself, so it is told that this no longer holds.
    assert told(hook) == [("withdrawn", 1, "TASK_STATUS_PROCESSING", 0)]
    assert Delivery.objects.first().error == delivery.OUTDATED  # type: ignore[union-attr]


def test_decided_reversed_and_decided_again_before_anything_was_sent_is_one_event(
    key: str, hook: Shelf, moderator: User, senior: User
) -> None:
    order(key, hook, prompt=WHISKY)
    (decision,) = decide(moderator, Verdict.REJECT)
    desk.reverse(decision=decision, user=senior, note="second thoughts")
    decide_one(decision.review, senior, Verdict.APPROVE)
    tasks.deliver()

    assert told(hook) == [("finished", 2, "TASK_STATUS_SUCCEED", 1)]
    assert statuses() == [
        ("finished", 1, "failed"),
        ("withdrawn", 1, "failed"),
        ("finished", 2, "delivered"),
    ]


def test_events_keep_their_order_while_the_first_is_retried(
    key: str, hook: Shelf, moderator: User, senior: User
) -> None:
    order(key, hook, prompt=WHISKY)
    (decision,) = decide(moderator, Verdict.APPROVE)
    tasks.deliver()
    desk.reverse(decision=decision, user=senior, note="second thoughts")
    hook.replies = [500]
    tasks.deliver()
    decide_one(decision.review, senior, Verdict.APPROVE)
    desk.reverse(decision=Decision.objects.newest_first()[0], user=senior, note="third thoughts")
    # The first withdrawal waits for its second attempt, and all that follows waits for it.
    tasks.deliver()
    assert len(hook.letters) == 2
    later()
    tasks.deliver()

    assert [(kind, number) for kind, number, *_ in told(hook)] == [
        ("finished", 1),
        ("withdrawn", 1),
        ("withdrawn", 2),
    ]
    sent = [
        datetime.fromtimestamp(int(letter.headers["x-loupe-signature"][2:12]))
        for letter in hook.letters
    ]
    assert sent == sorted(sent)
