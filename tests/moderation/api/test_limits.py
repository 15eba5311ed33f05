"""Limits of an API key, idempotency keys and revocation, also with concurrent calls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from generation.models import ApiCall, ApiKey, GenerationRequest, ImagesOfDay
from generation.services import requests
from generation.services.spending import SpendingLimitError
from moderation.api import instant_classification
from moderation.api.novita import submissions
from moderation.services import housekeeping
from tests.moderation.api.calls import CLEAN, classify, data_url, make_key
from tests.moderation.api.test_novita import body, result, submit

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _sandbox_alone(settings: Any) -> None:
    settings.CLASSIFIERS = ["sandbox"]


def run_concurrently(*calls: Callable[[], Any]) -> list[Any]:
    """Start all calls together, each in its own thread, and return their results in order."""
    start, answers = threading.Barrier(len(calls)), {}

    def run(number: int) -> None:
        start.wait(10)
        try:
            answers[number] = calls[number]()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answers[number] for number in range(len(calls))]


def count_charged_images() -> int:
    return sum(ImagesOfDay.objects.values_list("images", flat=True))


# --- Idempotency-Key ---
def test_repeated_idempotency_key_returns_first_task_and_costs_nothing() -> None:
    key = make_key("generate", images_per_day=2)
    first = submit(key, body(image_num=2), **{"Idempotency-Key": "order-7"})
    text = (
        b'{ "request" : %s}'
        % str(dict(reversed(body(image_num=2)["request"].items()))).replace("'", '"').encode()
    )
    again = submit(key, text, **{"Idempotency-Key": "order-7"})
    other = submit(key, body(image_num=1), **{"Idempotency-Key": "order-7"})

    assert (first.status_code, again.status_code, again.json()) == (200, 200, first.json())
    # 422: see docs/api.md and the IETF draft on the Idempotency-Key header.
    assert (other.status_code, other.json()["reason"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert GenerationRequest.objects.count() == 1
    assert count_charged_images() == 2
    assert sorted(ApiCall.objects.values_list("images", flat=True)) == [0, 0, 2]


def test_idempotency_keys_are_separate_for_each_api_key() -> None:
    keys = [make_key("generate") for _ in range(2)]
    named = [
        submit(key, body(), **{"Idempotency-Key": "order-7"}).json()["task_id"] for key in keys
    ]
    unnamed = [submit(keys[0], body()).json()["task_id"] for _ in range(2)]

    assert len({*named, *unnamed}) == 4
    assert result(keys[0], named[1]).status_code == 404


@pytest.mark.parametrize("name", ["", "x" * 256, "é", "a\tb", "a\x7f"])
def test_invalid_idempotency_key_returns_400_and_stores_nothing(name: str) -> None:
    answer = submit(make_key("generate"), body(), **{"Idempotency-Key": name})

    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_REQUEST_BODY")
    assert not GenerationRequest.objects.exists()


def test_idempotency_key_of_255_characters_returns_200() -> None:
    assert submit(make_key("generate"), body(), **{"Idempotency-Key": "x" * 255}).status_code == 200


def test_idempotency_key_of_refused_submission_can_be_used_again() -> None:
    key = make_key("generate")
    assert submit(key, body(width=1), **{"Idempotency-Key": "order-7"}).status_code == 400

    assert submit(key, body(), **{"Idempotency-Key": "order-7"}).status_code == 200


def test_concurrent_identical_submissions_create_one_request() -> None:
    key = make_key("generate")

    def call() -> Any:
        return submit(key, body(image_num=2), **{"Idempotency-Key": "order-7"})

    answers = run_concurrently(*[call] * 6)

    assert [answer.status_code for answer in answers] == [200] * 6
    assert len({answer.json()["task_id"] for answer in answers}) == 1
    assert GenerationRequest.objects.count() == 1
    assert count_charged_images() == 2


def test_concurrent_different_bodies_with_one_key_return_422_but_one() -> None:
    key = make_key("generate")

    def call(number: int) -> Callable[[], Any]:
        return lambda: submit(key, body(seed=number), **{"Idempotency-Key": "order-7"})

    answers = run_concurrently(*[call(number) for number in range(5)])

    assert sorted(answer.status_code for answer in answers) == [200, 422, 422, 422, 422]
    assert GenerationRequest.objects.count() == 1
    assert count_charged_images() == 1


def test_submission_between_lookup_and_insert_returns_first_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Forces the race: another submission is stored between the lookup and the insert."""
    key = make_key("generate", images_per_day=5)
    create, first = requests.create_request, []

    def late(**options: Any) -> tuple[GenerationRequest, bool]:
        monkeypatch.setattr(submissions.requests, "create_request", create)
        first.append(submit(key, body(image_num=2), **{"Idempotency-Key": "order-7"}).json())
        return create(**options)

    monkeypatch.setattr(submissions.requests, "create_request", late)
    answer = submit(key, body(image_num=2), **{"Idempotency-Key": "order-7"})

    assert [answer.json()] == first
    assert (GenerationRequest.objects.count(), count_charged_images()) == (1, 2)


# --- Images a day ---
def test_concurrent_submissions_do_not_exceed_daily_image_limit() -> None:
    key = make_key("generate", images_per_day=7)

    answers = run_concurrently(*[lambda: submit(key, body(image_num=2))] * 10)

    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 7
    assert GenerationRequest.objects.count() == 3
    assert count_charged_images() == 6
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["reason"] == "RATE_LIMIT_EXCEEDED"
    assert 0 < int(refused["Retry-After"]) <= 86401
    assert submit(key, body(image_num=1)).status_code == 200, "one is left"


def test_unfinished_calls_count_towards_daily_image_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call is stored with its response, for a classification up to a minute later."""
    key, inner = make_key("classify", images_per_day=1), []
    judge = instant_classification.judge

    def slow(images: Any) -> Any:
        inner.append(classify(key, {"imageDataUrl": data_url(CLEAN)}).status_code)
        return judge(images)

    monkeypatch.setattr(instant_classification, "judge", slow)

    assert classify(key, {"imageDataUrl": data_url(CLEAN)}).status_code == 200
    assert inner == [429]


def test_submission_beyond_daily_limit_returns_429_and_no_limit_is_unlimited() -> None:
    assert submit(make_key("generate", images_per_day=1), body(image_num=8)).status_code == 429
    assert submit(make_key("generate", images_per_day=0), body()).status_code == 429
    assert count_charged_images() == 0
    free = make_key("generate")
    assert [submit(free, body(image_num=8)).status_code for _ in range(3)] == [200] * 3
    assert count_charged_images() == 24, (
        "counted without a limit too, in case a limit is set later that day"
    )


def test_failed_call_refunds_its_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = make_key("generate", "classify", images_per_day=3)
    troubles = [
        SpendingLimitError("The month's money is spent."),
        requests.UnknownProviderError("gone"),
        OSError("boom"),
    ]
    for trouble, status in zip(troubles, (400, 503, 500), strict=True):
        with monkeypatch.context() as patch:
            patch.setattr(submissions.requests, "create_request", _raising(trouble))
            assert submit(key, body(image_num=3)).status_code == status
        assert count_charged_images() == 0
    assert classify(key, {"imageDataUrls": [data_url(CLEAN), "nonsense"]}).status_code == 400
    assert count_charged_images() == 0
    assert set(ApiCall.objects.values_list("images", flat=True)) == {0}
    assert submit(key, body(image_num=3)).status_code == 200


def _raising(error: Exception) -> Callable[..., Any]:
    def fail(**options: Any) -> Any:
        raise error

    return fail


def test_daily_image_limit_is_per_day_and_per_key() -> None:
    row, key = ApiKey.make(name="shop", scopes=["generate"], images_per_day=2)
    assert submit(key, body(image_num=2)).status_code == 200
    assert submit(key, body()).status_code == 429
    assert submit(make_key("generate", images_per_day=2), body()).status_code == 200
    ImagesOfDay.objects.filter(key=row).update(day=timezone.now().date() - timedelta(days=1))

    assert submit(key, body(image_num=2)).status_code == 200
    assert list(
        ImagesOfDay.objects.filter(key=row).order_by("day").values_list("images", flat=True)
    ) == [2, 2]


def test_old_daily_image_counts_are_deleted() -> None:
    submit(make_key("generate"), body())
    ImagesOfDay.objects.update(day=timezone.now().date() - timedelta(days=32))
    housekeeping.delete_old_calls(500)

    assert not ImagesOfDay.objects.exists()


# --- Calls a minute ---
def test_call_after_retry_after_returns_200() -> None:
    """Refused calls do not count, or they alone would use up a low limit."""
    key = make_key("generate", calls_per_minute=3)
    assert [submit(key, body()).status_code for _ in range(3)] == [200] * 3
    for _ in range(4):
        refused = submit(key, body())
        assert refused.status_code == 429
        wait = int(refused["Retry-After"])
        assert 0 < wait <= 60
        began = ApiKey.objects.get().minute_began_at
        assert began is not None
        ApiKey.objects.update(minute_began_at=began - timedelta(seconds=wait))
        assert submit(key, body()).status_code == 200
        [submit(key, body()) for _ in range(2)]


def test_minute_limit_counts_finished_calls_per_key() -> None:
    key, other = make_key("generate", calls_per_minute=5), make_key("generate", calls_per_minute=5)

    answers = run_concurrently(*[lambda: result(key, "x")] * 8)

    assert [answer.status_code for answer in answers].count(404) == 5
    assert set(run_concurrently(*[lambda: result(key, "x").status_code] * 3)) == {429}
    assert result(other, "x").status_code == 404


def test_counting_a_call_takes_one_query(
    django_assert_num_queries: Any,
) -> None:
    row, key = ApiKey.make(name="busy", scopes=["generate"])
    assert result(key, "x").status_code == 404

    with django_assert_num_queries(1):
        assert row.take_call(timezone.now())
    row.refresh_from_db()
    assert row.calls_in_minute == 2


# --- Revocation ---
def test_revoked_key_returns_403_or_401_at_next_call() -> None:
    row, key = ApiKey.make(name="shop", scopes=["generate", "classify", "read"])
    task = submit(key, body()).json()["task_id"]
    assert result(key, task).status_code == 200
    row.revoke()

    refused = [submit(key, body()), result(key, task)]
    assert [(answer.status_code, answer.json()["reason"]) for answer in refused] == [
        (403, "INVALID_API_KEY")
    ] * 2
    assert classify(key, {"imageDataUrl": data_url(CLEAN)}).status_code == 401
    assert GenerationRequest.objects.count() == 1
