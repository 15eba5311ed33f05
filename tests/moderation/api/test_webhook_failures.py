"""Events that meet trouble: servers that do not take them, keys that ended, workers that die, two
deciders at once.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client
from django.utils import timezone

from generation.models import ApiKey, GenerationRequest
from moderation import tasks
from moderation.api.webhooks import client
from moderation.api.webhooks import delivery as delivering
from moderation.models import Delivery, Review, Verdict
from moderation.services import decisions, webhook_events
from tests.moderation.api.calls import Shelf, shelf
from tests.moderation.api.test_novita import _sandbox, body, submit
from tests.moderation.api.webhook_orders import (
    FINISHED,
    WHISKY,
    api_key,
    decide,
    hook,
    key,
    later,
    order,
    statuses,
    told,
)

__all__ = ["_sandbox", "api_key", "hook", "key"]  # fixtures
pytestmark = pytest.mark.django_db(transaction=True)


# --- Retries ---
def test_a_refusal_is_retried_at_its_spacing_and_given_up_with_a_sentence(
    api_key: tuple[ApiKey, str], hook: Shelf, client_of: Callable[[User], Client], moderator: User
) -> None:
    row, key = api_key
    ApiKey.objects.filter(pk=row.pk).update(owner=moderator)
    hook.replies = [500, 302, 404, 429, 503, 500, 500, 500]
    order(key, hook)
    waits = []
    for _ in range(9):
        tasks.deliver()
        delivery = Delivery.objects.get()
        if delivery.due_at is not None:
            tasks.deliver()  # too early: nothing is sent
            waits.append(round((delivery.due_at - timezone.now()).total_seconds()))
        later()

    assert len(hook.letters) == 6, "one attempt and five more; a redirect is not followed"
    assert all(
        abs(wait - each.total_seconds()) <= 2
        for wait, each in zip(waits, delivering.SPACING, strict=True)
    )
    assert [each.total_seconds() for each in delivering.SPACING] == [10, 60, 300, 1800, 7200]
    assert hook.asked == []
    assert len({letter.headers["x-loupe-delivery"] for letter in hook.letters}) == 1
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.answer, delivery.attempts) == ("failed", 500, 6)
    assert delivery.error == "Given up after 6 attempts. The server answered 500."
    assert delivery.error in client_of(moderator).get("/developers/").content.decode()
    assert not tasks.deliver.is_due()


def test_one_that_is_taken_in_the_end_is_delivered(key: str, hook: Shelf) -> None:
    hook.replies = [503, 500, 204]
    order(key, hook)
    for _ in range(5):
        tasks.deliver()
        later()

    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.answer, delivery.error, delivery.attempts) == (
        "delivered",
        204,
        "",
        3,
    )
    assert len(hook.letters) == 3


@pytest.mark.parametrize("trouble", ["silence", "refused", "no http"])
def test_a_server_that_does_not_answer_is_tried_again(
    key: str, hook: Shelf, settings: Any, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    monkeypatch.setattr(client, "TIMEOUT", 0.3)
    order(key, hook)
    if trouble == "silence":
        hook.replies = [0]
    else:
        closed = socket.socket()
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        if trouble == "no http":
            closed.listen()
            threading.Thread(target=_babble, args=(closed,), daemon=True).start()
        settings.CALLER_ALLOW = [*settings.CALLER_ALLOW, address]
        GenerationRequest.objects.update(callback_url=f"http://{address}/")
    started = time.monotonic()
    tasks.deliver()

    assert time.monotonic() - started < 3
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.attempts, delivery.answer) == ("waiting", 1, None)
    assert delivery.error.endswith(".")
    assert "127.0.0.1" not in delivery.error
    if trouble == "silence":
        first = hook.letters[0].headers["x-loupe-delivery"]
        later()
        tasks.deliver()
        assert hook.letters[1].headers["x-loupe-delivery"] == first
        assert Delivery.objects.get().status == "delivered"
    else:
        closed.close()


def _babble(listening: socket.socket) -> None:
    connection, _ = listening.accept()
    with connection, contextlib.suppress(OSError):
        connection.recv(65536)
        connection.sendall(b"hello\r\n\r\n")


def test_one_address_that_hangs_does_not_hold_up_another(
    key: str, hook: Shelf, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "TIMEOUT", 1.0)
    with shelf() as silent:
        settings.CALLER_ALLOW = [*settings.CALLER_ALLOW, silent.address]
        silent.replies = [0] * 3
        for seed in range(3):
            submit(key, {**body(seed=seed), "extra": {"webhook": {"url": silent.url}}})
        order(key, hook, seed=9)
        started = time.monotonic()
        tasks.deliver()
        assert time.monotonic() - started < 2.5
    assert told(hook) == [FINISHED]


# --- Not sent, and never lost ---
@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_the_program_of_a_key_that_ended_is_not_told(
    api_key: tuple[ApiKey, str], hook: Shelf, how: str
) -> None:
    row, key = api_key
    order(key, hook)
    if how == "revoked":
        row.revoke()
    else:
        ApiKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    tasks.deliver()

    assert hook.letters == []
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.attempts) == ("failed", 1)
    assert "revoked or has expired" in delivery.error
    assert not tasks.deliver.is_due()


class Killed(BaseException):
    """The process ends here."""


def test_a_worker_killed_between_sending_and_noting_sends_again_under_the_same_id(
    key: str, hook: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    order(key, hook)
    with monkeypatch.context() as patch:
        patch.setattr(delivering, "_record_outcome", lambda *args: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            tasks.deliver()
    tasks.deliver()
    assert len(hook.letters) == 1, "its lease has not run out yet"
    later()
    tasks.deliver()
    tasks.deliver()

    assert told(hook) == [FINISHED, FINISHED]
    assert len({letter.headers["x-loupe-delivery"] for letter in hook.letters}) == 1
    assert (Delivery.objects.get().status, Delivery.objects.get().attempts) == ("delivered", 2)


def test_sending_that_ends_its_worker_every_time_is_given_up(
    key: str, hook: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    order(key, hook)
    monkeypatch.setattr(delivering, "_record_outcome", lambda *args: (_ for _ in ()).throw(Killed))
    for _ in range(delivering.ATTEMPTS):
        with pytest.raises(Killed):
            tasks.deliver()
        later()
    tasks.deliver()

    assert len(hook.letters) == delivering.ATTEMPTS
    assert Delivery.objects.get().status == "failed"


def test_a_worker_whose_lease_ran_out_does_not_undo_what_another_noted(
    key: str, hook: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It got a 500; meanwhile somebody else has sent the event and been thanked."""
    order(key, hook)
    note = delivering._record_outcome

    def slow(delivery: Delivery, outcome: Any) -> None:
        monkeypatch.setattr(delivering, "_record_outcome", note)
        later()
        delivering.deliver(go_on=lambda: True)
        note(delivery, outcome)

    monkeypatch.setattr(delivering, "_record_outcome", slow)
    hook.replies = [500]
    tasks.deliver()

    assert len(hook.letters) == 2
    assert Delivery.objects.get().status == "delivered"


def test_a_decision_succeeds_whatever_becomes_of_its_event(
    key: str, hook: Shelf, moderator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody queues the same event between our look and our row, and nobody can be woken."""
    order(key, hook, prompt=WHISKY)
    queue = webhook_events._queue_event

    def overtaken(request: GenerationRequest, kind: str, number: int) -> None:
        Delivery.objects.create(request=request, kind=kind, round=number, due_at=timezone.now())
        queue(request, kind, number)

    def no_broker(name: str) -> bool:
        raise OSError("no broker")

    monkeypatch.setattr(webhook_events, "_queue_event", overtaken)
    monkeypatch.setattr("generation.jobs.send_wakeup", no_broker)
    decide(moderator, Verdict.APPROVE)

    assert Review.objects.get().status == "approved"
    tasks.deliver()
    assert told(hook) == [FINISHED]


@pytest.mark.parametrize("round_number", range(3))
def test_two_deciders_at_once_queue_one_event(
    key: str, hook: Shelf, moderator: User, other_moderator: User, round_number: int
) -> None:
    order(key, hook, prompt=WHISKY, image_num=2)
    start, errors = threading.Barrier(2), []

    def run(review: Review, user: User) -> None:
        try:
            decisions.claim(review=review, user=user)
            start.wait(5)
            decisions.decide(review=review, user=user, verdict=Verdict.APPROVE)
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    pairs = zip(Review.objects.order_by("pk"), (moderator, other_moderator), strict=True)
    threads = [threading.Thread(target=run, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    tasks.deliver()
    tasks.deliver()

    assert told(hook) == [("finished", 1, "TASK_STATUS_SUCCEED", 2)]
    assert statuses() == [("finished", 1, "delivered")]


def test_a_decision_of_before_the_last_image_was_stored_is_not_forgotten(
    key: str, hook: Shelf
) -> None:
    """Everything decided first, the request finished after: nobody decides any more, so the tick
    finds it.
    """
    order(key, hook)
    Delivery.objects.all().delete()
    assert tasks.deliver.is_due()
    tasks.deliver()

    assert told(hook) == [FINISHED]
