"""The whole pipeline, from a request to a decided review, against the sandbox over a socket.

Also covers a kill at every step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django_q.models import OrmQ

from generation import fetching, jobs, tasks
from generation.models import Asset, GenerationRequest, RemoteImage
from generation.providers.novita import client
from generation.sandbox.models import SandboxTask
from generation.services import downloading, requests
from moderation.models import Review
from tests.generation.pipeline_helpers import STEPS, ask, make_everything_due, run_line, state

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]
Status = GenerationRequest.Status


def test_request_becomes_stored_images_with_classified_reviews() -> None:
    request = ask(image_num=3, prompt="a whisky bottle", response_image_type="webp", width=192)

    run_line()

    request.refresh_from_db()
    assert (request.status, request.error) == (Status.SUCCEEDED, "")
    assets = list(Asset.objects.filter(request=request).order_by("position"))
    assert [(a.position, a.width, a.height, a.image_type) for a in assets] == [
        (n, 192, 128, "webp") for n in range(3)
    ]
    assert len({a.sha256 for a in assets}) == 3
    for asset in assets:
        assert asset.review.status == Review.Status.PENDING
        assert asset.review.top_category == "alcohol.beverages"
        assert "policy version 1 asks a person" in asset.review.reason
        assert asset.detection is not None
        with asset.rendition.open("rb") as file:
            assert hashlib.sha256(file.read()).hexdigest() == asset.sha256
    assert [t.new for t in request.transitions.order_by("pk")] == [
        "queued",
        "submitting",
        "processing",
        "fetching",
        "succeeded",
    ]


def test_policy_approves_a_clean_image_and_rejects_a_certain_finding() -> None:
    clean, sure = ask(), ask(prompt="sandbox:explicit.nudity@97")

    run_line()

    assert Review.objects.get(asset__request=clean).status == Review.Status.APPROVED
    rejected = Review.objects.get(asset__request=sure)
    assert rejected.status == Review.Status.REJECTED
    decision = rejected.decisions.get()
    assert (decision.by_policy, decision.categories) == (True, ["explicit.nudity"])


def test_invalid_detection_leaves_the_review_pending() -> None:
    request = ask(prompt="sandbox:invalid-detection")

    run_line()

    review = Review.objects.get(asset__request=request)
    assert review.status == Review.Status.PENDING
    assert "did not run" in review.reason


@pytest.mark.parametrize(
    ("word", "status", "reason"),
    [
        ("fail", Status.FAILED, "TASK_FAILED"),
        ("lost-silent", Status.UNKNOWN, ""),
        ("corrupt", Status.FAILED, "IMAGES_LOST"),
        ("expired", Status.FAILED, "IMAGES_LOST"),
    ],
)
def test_provider_failure_sets_status_reason_and_message(
    word: str, status: str, reason: str
) -> None:
    request = ask(prompt=f"a harbour sandbox:{word}")

    run_line(rounds=8)

    request.refresh_from_db()
    assert request.status == status
    assert reason in request.reason
    assert request.error.endswith(".")
    assert not Asset.objects.exists()
    assert SandboxTask.objects.count() == 1


def test_partial_result_stores_the_available_images_with_a_message() -> None:
    request = ask(prompt="a harbour sandbox:partial", image_num=3)

    run_line(rounds=8)

    request.refresh_from_db()
    assert (request.status, request.reason) == (Status.SUCCEEDED, "PARTIAL")
    assert request.error.startswith("2 of 3 images could be stored.")
    assert Asset.objects.filter(request=request).count() == 2


def test_busy_provider_gets_the_request_later_and_once() -> None:
    request = ask(prompt="a harbour sandbox:busy")

    run_line(rounds=6)

    request.refresh_from_db()
    assert request.status == Status.SUCCEEDED
    assert request.transitions.filter(old="submitting", new="queued").exists()
    assert Asset.objects.count() == 1


def test_unknown_request_is_sent_again_only_by_a_person(admin: User) -> None:
    request = ask(prompt="a harbour sandbox:lost-silent")
    run_line(rounds=4)
    assert SandboxTask.objects.count() == 1

    GenerationRequest.objects.update(prompt="a harbour")
    requests.retry_request(request=GenerationRequest.objects.get())
    run_line()

    request.refresh_from_db()
    assert request.status == Status.SUCCEEDED
    assert SandboxTask.objects.count() == 2


def test_status_submitting_is_committed_before_the_post(monkeypatch: pytest.MonkeyPatch) -> None:
    request = ask()
    seen: list[tuple[str, bool]] = []

    def submit(self: Any, *args: Any, **kwargs: Any) -> str:
        seen.append((GenerationRequest.objects.get().status, connection.in_atomic_block))
        raise KeyboardInterrupt

    monkeypatch.setattr(client.Novita, "submit", submit)
    with pytest.raises(KeyboardInterrupt):
        tasks.submit()
    monkeypatch.undo()
    assert seen == [(Status.SUBMITTING, False)]

    tasks.submit()
    assert GenerationRequest.objects.get().status == Status.SUBMITTING, (
        "its lease has not run out yet"
    )
    run_line()
    request.refresh_from_db()
    assert (request.status, request.reason) == (Status.UNKNOWN, "SENDER_DIED")
    assert not SandboxTask.objects.exists()


def test_pipeline_steps_are_idempotent() -> None:
    request = ask(image_num=2)
    for step in STEPS:
        step()
        make_everything_due()
        step()
    before = state()

    run_line()

    assert state() == before
    assert before[str(request.uuid)] == "succeeded"
    assert (Asset.objects.count(), Review.objects.count(), SandboxTask.objects.count()) == (2, 2, 1)


def test_lost_queue_messages_lose_no_request() -> None:
    ask(), ask(seed=6)
    for _ in range(40):
        OrmQ.objects.all().delete()
        jobs.start_over()
        make_everything_due()
        for name in jobs.tick():
            jobs.find(name)()

    assert set(GenerationRequest.objects.values_list("status", flat=True)) == {"succeeded"}
    assert not Review.objects.filter(status=Review.Status.CLASSIFYING).exists()


class Killed(BaseException):
    """A simulated kill of the process. A BaseException, so that no except clause catches it."""


@contextmanager
def killed_at(effect: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Raise Killed after ``effect`` side effects and yield their list.

    Side effects are writes to the database, stored files and calls to the provider.
    """
    effects: list[str] = []

    def count(name: str) -> None:
        effects.append(name)
        if len(effects) > effect:
            raise Killed(name)

    def sql(execute: Callable[..., Any], query: str, params: Any, many: bool, context: Any) -> Any:
        if (
            query.split(" ", 1)[0] in ("INSERT", "UPDATE", "DELETE")
            and "django_q" not in query
            and "jobslot" not in query
        ):
            count(query[:40])
        return execute(query, params, many, context)

    def after(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            count(name)
            return result

        return call

    with monkeypatch.context() as patch, connection.execute_wrapper(sql):
        # A kill right after these calls is the worst case: the effect outside has happened, and
        # the database does not contain it yet.
        patch.setattr(client.Novita, "submit", after(client.Novita.submit, "POST"))
        patch.setattr(downloading, "download_image", after(downloading.download_image, "GET"))
        patch.setattr(downloading, "store_rendition", after(downloading.store_rendition, "store"))
        try:
            yield effects
        except Killed:
            effects.append("killed")


@pytest.mark.slow
@pytest.mark.parametrize("prompt", ["a harbour", "a whisky bottle"])
def test_worker_killed_at_any_side_effect_loses_and_duplicates_nothing(
    prompt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "FETCH_THREADS", 1)
    unknown, effect, finished = 0, 0, False
    while not finished:
        request = ask(prompt=prompt, seed=effect)
        with killed_at(effect, monkeypatch) as effects:
            run_line(rounds=2)
        finished = "killed" not in effects
        connection.close()
        jobs.start_over()
        run_line(rounds=4)

        request.refresh_from_db()
        sent = SandboxTask.objects.filter(body__request__seed=effect).count()
        unknown += request.status == Status.UNKNOWN
        if request.status == Status.UNKNOWN:
            assert sent <= 1, effects
        else:
            assert (request.status, sent) == (Status.SUCCEEDED, 1), effects
            asset = Asset.objects.get(request=request)
            assert asset.review.status in (Review.Status.APPROVED, Review.Status.PENDING), effects
            assert asset.classifications.count() == 2, effects
            assert asset.review.decisions.count() == (
                asset.review.status == Review.Status.APPROVED
            ), effects
        effect += 1

    assert effect > 12, "fewer effects than the line has: the wrapper no longer sees them"
    assert 1 <= unknown <= 4, (
        "only dying between the claim and the stored task id may leave the outcome unknown"
    )


def test_download_that_kills_the_worker_fails_after_a_few_attempts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask()
    tasks.submit()
    tasks.poll()

    def die(**kwargs: Any) -> Any:
        raise Killed

    monkeypatch.setattr(downloading, "download_image", die)
    deaths = 0
    for _ in range(10):
        make_everything_due()
        jobs.start_over()
        try:
            tasks.fetch()
        except Killed:
            deaths += 1

    assert deaths == downloading.CRASHES_MAX
    request = GenerationRequest.objects.get()
    assert (request.status, request.reason) == (Status.FAILED, "IMAGES_LOST")


def test_blocked_download_fails_with_a_message_without_signature(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.FETCH_ALLOW = []
    request = ask()

    run_line()

    request.refresh_from_db()
    assert request.status == Status.FAILED
    assert "X-Amz" not in request.error + "".join(
        request.transitions.values_list("reason", flat=True)
    )
    assert not RemoteImage.objects.exclude(url="").exists()
    assert issubclass(fetching.BlockedAddressError, Exception)
