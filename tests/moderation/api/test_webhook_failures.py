"""Webhook failures: failing servers, ended keys, killed workers and concurrent decisions."""

from __future__ import annotations

import contextlib
import socket
import threading
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
from tests.moderation.api.calls import LocalServer, run_local_server
from tests.moderation.api.test_novita import body, submit
from tests.moderation.api.webhook_orders import (
    FINISHED,
    WHISKY,
    decide,
    list_delivery_statuses,
    list_received_events,
    make_deliveries_due,
    submit_and_run,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("novita_sandbox")]


# --- Retries ---
def test_failing_webhook_is_retried_five_times_then_given_up(
    api_key: tuple[ApiKey, str],
    hook: LocalServer,
    client_of: Callable[[User], Client],
    moderator: User,
) -> None:
    row, key = api_key
    ApiKey.objects.filter(pk=row.pk).update(owner=moderator)
    hook.replies = [500, 302, 404, 429, 503, 500, 500, 500]
    submit_and_run(key, hook)
    waits = []  # the shortest and the longest that each may have been, in seconds
    for _ in range(9):
        before = timezone.now()
        tasks.deliver()
        after = timezone.now()
        delivery = Delivery.objects.get()
        if delivery.due_at is not None:
            tasks.deliver()  # too early: nothing is sent
            waits.append([(delivery.due_at - then).total_seconds() for then in (after, before)])
        make_deliveries_due()

    assert len(hook.posts) == 6, "one attempt and five more; a redirect is not followed"
    assert all(
        shortest - 2 <= each.total_seconds() <= longest + 2
        for (shortest, longest), each in zip(waits, delivering.SPACING, strict=True)
    )
    assert [each.total_seconds() for each in delivering.SPACING] == [10, 60, 300, 1800, 7200]
    assert hook.requested_paths == []
    assert len({post.headers["x-loupe-delivery"] for post in hook.posts}) == 1
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.answer, delivery.attempts) == ("failed", 500, 6)
    assert delivery.error == "Failed after 6 attempts. The server answered 500."
    assert delivery.error in client_of(moderator).get("/developers/").content.decode()
    assert not tasks.deliver.is_due()


def test_webhook_that_succeeds_at_third_attempt_is_delivered(key: str, hook: LocalServer) -> None:
    hook.replies = [503, 500, 204]
    submit_and_run(key, hook)
    for _ in range(5):
        tasks.deliver()
        make_deliveries_due()

    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.answer, delivery.error, delivery.attempts) == (
        "delivered",
        204,
        "",
        3,
    )
    assert len(hook.posts) == 3


@pytest.mark.parametrize("trouble", ["silence", "refused", "no http"])
def test_webhook_without_http_response_is_retried(
    key: str, hook: LocalServer, settings: Any, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    monkeypatch.setattr(client, "TIMEOUT", 0.3)
    submit_and_run(key, hook)
    if trouble == "silence":
        hook.replies = [0]
    else:
        closed = socket.socket()
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        if trouble == "no http":
            closed.listen()
            threading.Thread(target=_answer_without_http, args=(closed,), daemon=True).start()
        settings.CALLER_ALLOW = [*settings.CALLER_ALLOW, address]
        GenerationRequest.objects.update(callback_url=f"http://{address}/")
    tasks.deliver()

    assert not hook.gave_up, "it waited longer than its own limit"
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.attempts, delivery.answer) == ("waiting", 1, None)
    assert delivery.error.endswith(".")
    assert "127.0.0.1" not in delivery.error
    if trouble == "silence":
        first = hook.posts[0].headers["x-loupe-delivery"]
        make_deliveries_due()
        tasks.deliver()
        assert hook.posts[1].headers["x-loupe-delivery"] == first
        assert Delivery.objects.get().status == "delivered"
    else:
        closed.close()


def _answer_without_http(listening: socket.socket) -> None:
    connection, _ = listening.accept()
    with connection, contextlib.suppress(OSError):
        connection.recv(65536)
        connection.sendall(b"hello\r\n\r\n")


def test_hanging_webhook_does_not_delay_another(
    key: str, hook: LocalServer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "TIMEOUT", 300.0)
    with run_local_server() as silent:
        settings.CALLER_ALLOW = [*settings.CALLER_ALLOW, silent.address]
        silent.replies = [0] * 3
        for seed in range(3):
            submit(key, {**body(seed=seed), "extra": {"webhook": {"url": silent.url}}})
        submit_and_run(key, hook, seed=9)
        hook.on_post = silent.over.set
        tasks.deliver()
        assert not silent.gave_up, "the other server was called only after this one"
    assert list_received_events(hook) == [FINISHED]


# --- Events that are not sent, and events that must not be lost ---
@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_webhook_of_revoked_or_expired_key_is_not_sent(
    api_key: tuple[ApiKey, str], hook: LocalServer, how: str
) -> None:
    row, key = api_key
    submit_and_run(key, hook)
    if how == "revoked":
        row.revoke()
    else:
        ApiKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    tasks.deliver()

    assert hook.posts == []
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.attempts) == ("failed", 1)
    assert "revoked or has expired" in delivery.error
    assert not tasks.deliver.is_due()


class Killed(BaseException):
    """A simulated kill of the worker process."""


def test_worker_killed_after_sending_sends_again_with_same_delivery_id(
    key: str, hook: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit_and_run(key, hook)
    with monkeypatch.context() as patch:
        patch.setattr(delivering, "_record_outcome", lambda *args: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            tasks.deliver()
    tasks.deliver()
    assert len(hook.posts) == 1, "its lease has not run out yet"
    make_deliveries_due()
    tasks.deliver()
    tasks.deliver()

    assert list_received_events(hook) == [FINISHED, FINISHED]
    assert len({post.headers["x-loupe-delivery"] for post in hook.posts}) == 1
    assert (Delivery.objects.get().status, Delivery.objects.get().attempts) == ("delivered", 2)


def test_delivery_that_kills_every_worker_is_given_up(
    key: str, hook: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit_and_run(key, hook)
    monkeypatch.setattr(delivering, "_record_outcome", lambda *args: (_ for _ in ()).throw(Killed))
    for _ in range(delivering.ATTEMPTS):
        with pytest.raises(Killed):
            tasks.deliver()
        make_deliveries_due()
    tasks.deliver()

    assert len(hook.posts) == delivering.ATTEMPTS
    assert Delivery.objects.get().status == "failed"


def test_worker_with_expired_lease_does_not_overwrite_delivered_status(
    key: str, hook: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first worker receives a 500 while a second worker delivers the same event."""
    submit_and_run(key, hook)
    note = delivering._record_outcome

    def slow(delivery: Delivery, outcome: Any, milliseconds: int) -> None:
        monkeypatch.setattr(delivering, "_record_outcome", note)
        make_deliveries_due()
        delivering.deliver(go_on=lambda: True)
        note(delivery, outcome, milliseconds)

    monkeypatch.setattr(delivering, "_record_outcome", slow)
    hook.replies = [500]
    tasks.deliver()

    assert len(hook.posts) == 2
    assert Delivery.objects.get().status == "delivered"


def test_decision_succeeds_when_queueing_its_event_fails(
    key: str, hook: LocalServer, moderator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same event is queued between the lookup and the insert, and the wake-up fails."""
    submit_and_run(key, hook, prompt=WHISKY)
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
    assert list_received_events(hook) == [FINISHED]


@pytest.mark.parametrize("round_number", range(3))
def test_concurrent_decisions_queue_one_event(
    key: str, hook: LocalServer, moderator: User, other_moderator: User, round_number: int
) -> None:
    submit_and_run(key, hook, prompt=WHISKY, image_num=2)
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

    assert list_received_events(hook) == [("finished", 1, "TASK_STATUS_SUCCEED", 2)]
    assert list_delivery_statuses() == [("finished", 1, "delivered")]


def test_finished_request_without_delivery_gets_its_event(key: str, hook: LocalServer) -> None:
    """The request finishes after its last decision, so only the deliver job can find it."""
    submit_and_run(key, hook)
    Delivery.objects.all().delete()
    assert tasks.deliver.is_due()
    tasks.deliver()

    assert list_received_events(hook) == [FINISHED]
