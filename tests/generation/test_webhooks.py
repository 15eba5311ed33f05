"""Webhooks from the provider over a socket: hints that Loupe verifies by a poll.

They also recover a task whose id was lost.
"""

from __future__ import annotations

import io
import json
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from generation import fetching, tasks
from generation.models import GenerationRequest, RemoteImage
from generation.sandbox.models import SandboxTask
from generation.services import webhooks
from tests.generation.pipeline_helpers import ask, make_everything_due, run_line, state

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]
Status = GenerationRequest.Status


@pytest.fixture
def reachable(live_server: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the sandbox reach the webhook URL, and return the secrets of the received calls."""
    settings.PUBLIC_URL = live_server.url
    seen: list[str] = []
    receive = webhooks.receive_call

    def note(*, secret: str, body: bytes) -> None:
        receive(secret=secret, body=body)
        seen.append(secret)

    monkeypatch.setattr(webhooks, "receive_call", note)
    return seen


def wait_for(condition: Callable[[], Any]) -> None:
    until = time.monotonic() + 60
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    assert condition()


def call(secret: str, task_id: object = "", client: Client | None = None, **event: Any) -> int:
    body = {"event_type": "ASYNC_TASK_RESULT", "payload": {"task": {"task_id": task_id}}, **event}
    path = reverse("generation:novita-webhook", args=[secret])
    return (
        (client or Client())
        .post(path, json.dumps(body), content_type="application/json")
        .status_code
    )


def call_from_elsewhere(secret: str, task_id: str) -> None:
    """Call the webhook in a thread with its own database connection."""

    def run() -> None:
        call(secret, task_id)
        connection.close()

    caller = threading.Thread(target=run)
    caller.start()
    caller.join()


def with_secret(request: GenerationRequest) -> str:
    secret = secrets.token_urlsafe(32)
    GenerationRequest.objects.filter(pk=request.pk).update(
        webhook_digest=webhooks.hash_secret(secret)
    )
    return secret


# --- The whole path, over a socket ---
def test_webhook_recovers_a_task_whose_id_was_lost(reachable: list[str]) -> None:
    request = ask(prompt="a harbour sandbox:lost", image_num=2)
    tasks.submit()
    assert GenerationRequest.objects.get().status == Status.UNKNOWN
    wait_for(lambda: reachable)

    run_line()

    request.refresh_from_db()
    assert (request.status, request.error, request.candidate_task_id) == (Status.SUCCEEDED, "", "")
    assert request.assets.count() == 2
    assert request.provider_task_id == str(SandboxTask.objects.get().pk)
    assert list(request.transitions.order_by("pk").values_list("old", "new"))[2:4] == [
        ("submitting", "unknown"),
        ("unknown", "processing"),
    ]
    assert len(reachable[0]) >= 22, "128 bit at least"
    assert request.webhook_digest == webhooks.hash_secret(reachable[0])


def test_request_stays_unknown_without_a_webhook(reachable: list[str]) -> None:
    request = ask(prompt="a harbour sandbox:lost-silent")
    run_line()
    request.refresh_from_db()
    assert request.status == Status.UNKNOWN
    assert reachable == []


def test_webhook_makes_a_finished_task_due_before_its_next_poll(
    reachable: list[str], settings: Any
) -> None:
    settings.SANDBOX_LATENCY = 0.5
    request = ask()
    tasks.submit()
    tasks.poll()
    far = GenerationRequest.objects.filter(pk=request.pk)
    far.update(due_at="2099-01-01T00:00Z")
    wait_for(lambda: reachable)
    tasks.poll()
    assert far.get().status == Status.FETCHING


def test_sandbox_sends_novitas_event_and_retries_it(
    reachable: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []
    send = fetching.send

    def flaky(*args: Any, **kwargs: Any) -> Any:
        sent.append(kwargs["content"])
        if len(sent) == 1:
            return fetching.Answer(500, b"", "", "")
        return send(*args, **kwargs)

    monkeypatch.setattr("generation.sandbox.webhooks.PAUSE", 0.01)
    monkeypatch.setattr("generation.sandbox.webhooks.fetching.send", flaky)
    ask(prompt="a harbour sandbox:fail")
    tasks.submit()
    wait_for(lambda: reachable)
    assert len(sent) == 2
    event = json.loads(sent[0])
    assert event["event_type"] == "ASYNC_TASK_RESULT"
    assert event["payload"]["task"]["status"] == "TASK_STATUS_FAILED"
    assert event["payload"]["extra"]["webhook"]["url"].endswith(reachable[0])
    assert set(event["payload"]) == {"extra", "task", "images", "videos", "audios"}


def test_webhook_url_is_sent_only_to_providers_with_webhooks(settings: Any) -> None:
    assert webhooks.create_webhook_url("novita-sandbox")[0].startswith(
        f"{settings.PUBLIC_URL}/webhooks/novita/"
    )
    settings.IMAGE_PROVIDERS["novita-sandbox"]["webhooks"] = False
    assert webhooks.create_webhook_url("novita-sandbox") == ("", "")
    assert webhooks.create_webhook_url("gone") == ("", "")
    ask()
    tasks.submit()
    assert GenerationRequest.objects.get().webhook_digest == ""


# --- Invalid hints ---
def test_forged_and_repeated_webhooks_change_nothing(reachable: list[str]) -> None:
    """Send two hundred calls, to every kind of request."""
    done, lost = ask(seed=1), ask(seed=2, prompt="a harbour sandbox:lost-silent")
    run_line()
    secret = with_secret(lost)
    before, client = everything(), Client()
    task_id = str(SandboxTask.objects.get(seed="1").pk)
    for number in range(50):
        assert call(secrets.token_urlsafe(32), task_id, client) == 404
        assert call(reachable[0], task_id, client) == 204
        assert call(secret, task_id, client) == 204, "this task is the other request's"
        odd: list[dict[str, Any]] = [
            {"event_type": "SOMETHING_ELSE"},
            {"payload": None},
            {"payload": {"task": [task_id]}},
            {"payload": {"task": {"task_id": {"a": 1}}}},
            {"payload": {"task": {"task_id": "x" * 201}}},
            {"payload": {"task": {"task_id": "a\0b"}}},
        ]
        assert call(secret, client=client, **odd[number % len(odd)]) == 204
    assert everything() == before
    run_line()
    assert everything() == before
    assert done.assets.count() == 1


def everything() -> Any:
    rows = list(GenerationRequest.objects.order_by("pk").values())
    return (
        rows,
        list(RemoteImage.objects.order_by("pk").values()),
        state(),
        SandboxTask.objects.count(),
    )


@pytest.mark.parametrize("named", ["another seed", "nobody's", "no id at all"])
def test_webhook_with_a_foreign_task_is_discarded(named: str) -> None:
    request = ask(prompt="a harbour sandbox:lost-silent", seed=7)
    tasks.submit()
    secret = with_secret(request)
    SandboxTask.objects.update(seed="8")
    task_id = {"another seed": str(SandboxTask.objects.get().pk), "nobody's": str(uuid4())}.get(
        named, "x y"
    )
    call(secret, task_id)
    request.refresh_from_db()
    assert (request.status, request.candidate_task_id) == (Status.UNKNOWN, task_id)
    assert request.due_at is not None

    tasks.reconcile()

    request.refresh_from_db()
    assert (request.status, request.candidate_task_id, request.due_at) == (Status.UNKNOWN, "", None)
    SandboxTask.objects.update(seed="7")
    call(secret, str(SandboxTask.objects.get().pk))
    run_line()
    request.refresh_from_db()
    assert request.status == Status.SUCCEEDED, "a wrong hint does not keep the right one out"


def test_reconciliation_is_retried_while_the_provider_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    request = ask(prompt="a harbour sandbox:lost-silent")
    tasks.submit()
    call(with_secret(request), str(SandboxTask.objects.get().pk))
    GenerationRequest.objects.update(attempts=12)
    settings.SANDBOX = False
    tasks.reconcile()
    request.refresh_from_db()
    assert (request.status, request.attempts) == (Status.UNKNOWN, 13)
    assert request.candidate_task_id
    assert request.due_at is not None
    settings.SANDBOX = True
    run_line()
    request.refresh_from_db()
    assert request.status == Status.SUCCEEDED


def test_webhook_during_the_submission_keeps_the_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = ask()
    seen: list[GenerationRequest] = []
    submit = tasks.providers.get_provider("novita-sandbox").submit

    def early(submission: Any, *, on_answer: Any) -> str:
        task_id = submit(submission, on_answer=on_answer)
        call_from_elsewhere(submission.webhook_url.rpartition("/")[2], task_id)
        seen.append(GenerationRequest.objects.get())
        return task_id

    monkeypatch.setattr(
        tasks.providers.get_provider("novita-sandbox"), "submit", early, raising=False
    )
    tasks.submit()

    (during,) = seen
    request.refresh_from_db()
    assert (during.status, during.candidate_task_id) == (
        Status.SUBMITTING,
        request.provider_task_id,
    )
    assert during.due_at is not None
    assert request.status == Status.PROCESSING
    assert request.candidate_task_id == ""


def test_webhook_recovers_a_request_whose_sender_was_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = ask()
    provider = tasks.providers.get_provider("novita-sandbox")
    submit = provider.submit

    def die(submission: Any, *, on_answer: Any) -> str:
        task_id = submit(submission, on_answer=on_answer)
        call_from_elsewhere(submission.webhook_url.rpartition("/")[2], task_id)
        raise KeyboardInterrupt

    monkeypatch.setattr(provider, "submit", die, raising=False)
    with pytest.raises(KeyboardInterrupt):
        tasks.submit()
    monkeypatch.undo()
    make_everything_due()
    run_line()

    request.refresh_from_db()
    assert request.status == Status.SUCCEEDED
    assert SandboxTask.objects.count() == 1


# --- The webhook URL ---
def test_webhook_url_accepts_small_posts_with_an_empty_response(
    live_server: Any, make_request: Any
) -> None:
    path = reverse("generation:novita-webhook", args=[with_secret(make_request())])
    client = Client(enforce_csrf_checks=True)
    assert client.get(path).status_code == 405
    assert client.post(path, b"x" * 65_536, content_type="application/json").status_code == 204
    assert client.post(path, b"x" * 65_537, content_type="application/json").status_code == 413
    assert client.post(path, b"{" * 60_000, content_type="application/json").status_code == 204
    host = live_server.url.removeprefix("http://")
    for content, status in ((b"x" * 65_537, 413), (b"\xff\x00", 204), (b"", 204)):
        answer = fetching.send("POST", live_server.url + path, content=content, allow=[host])
        assert (answer.status, answer.content) == (status, b"")


class UnreadableImageError(io.RawIOBase):
    def read(self, *size: object) -> bytes:
        raise AssertionError("the body was read")


def test_webhook_with_an_unknown_secret_is_refused_before_reading_the_body(db: None) -> None:
    path = reverse("generation:novita-webhook", args=["x"])
    body = {"wsgi.input": UnreadableImageError(), "CONTENT_LENGTH": "60000"}

    assert Client().post(path, content_type="application/json", **body).status_code == 404
