"""What a key may do, also when it calls from many threads at once: limits, and submissions that are
made only once.
"""

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


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """The answers to calls that start together, each in a thread with a connection of its own."""
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


def spent() -> int:
    return sum(ImagesOfDay.objects.values_list("images", flat=True))


# --- Idempotency-Key ---
def test_a_repeated_submission_is_the_first_one_and_costs_nothing() -> None:
    key = make_key("generate", images_per_day=2)
    first = submit(key, body(image_num=2), **{"Idempotency-Key": "order-7"})
    text = (
        b'{ "request" : %s}'
        % str(dict(reversed(body(image_num=2)["request"].items()))).replace("'", '"').encode()
    )
    again = submit(key, text, **{"Idempotency-Key": "order-7"})
    other = submit(key, body(image_num=1), **{"Idempotency-Key": "order-7"})

    assert (first.status_code, again.status_code, again.json()) == (200, 200, first.json())
    # 422, as docs/api.md and the IETF's draft have it.
    assert (other.status_code, other.json()["reason"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert GenerationRequest.objects.count() == 1
    assert spent() == 2
    assert sorted(ApiCall.objects.values_list("images", flat=True)) == [0, 0, 2]


def test_the_keys_of_two_programs_do_not_collide_nor_do_submissions_without_one() -> None:
    keys = [make_key("generate") for _ in range(2)]
    named = [
        submit(key, body(), **{"Idempotency-Key": "order-7"}).json()["task_id"] for key in keys
    ]
    unnamed = [submit(keys[0], body()).json()["task_id"] for _ in range(2)]

    assert len({*named, *unnamed}) == 4
    assert result(keys[0], named[1]).status_code == 404


@pytest.mark.parametrize("name", ["", "x" * 256, "é", "a\tb", "a\x7f"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    answer = submit(make_key("generate"), body(), **{"Idempotency-Key": name})

    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_REQUEST_BODY")
    assert not GenerationRequest.objects.exists()


def test_the_longest_name_is_taken() -> None:
    assert submit(make_key("generate"), body(), **{"Idempotency-Key": "x" * 255}).status_code == 200


def test_a_refused_submission_does_not_use_its_name_up() -> None:
    key = make_key("generate")
    assert submit(key, body(width=1), **{"Idempotency-Key": "order-7"}).status_code == 400

    assert submit(key, body(), **{"Idempotency-Key": "order-7"}).status_code == 200


def test_the_same_submission_twice_at_once_is_one_request() -> None:
    key = make_key("generate")

    def call() -> Any:
        return submit(key, body(image_num=2), **{"Idempotency-Key": "order-7"})

    answers = at_once(*[call] * 6)

    assert [answer.status_code for answer in answers] == [200] * 6
    assert len({answer.json()["task_id"] for answer in answers}) == 1
    assert GenerationRequest.objects.count() == 1
    assert spent() == 2


def test_different_bodies_under_one_name_at_once_are_one_request_too() -> None:
    key = make_key("generate")

    def call(number: int) -> Callable[[], Any]:
        return lambda: submit(key, body(seed=number), **{"Idempotency-Key": "order-7"})

    answers = at_once(*[call(number) for number in range(5)])

    assert sorted(answer.status_code for answer in answers) == [200, 422, 422, 422, 422]
    assert GenerationRequest.objects.count() == 1
    assert spent() == 1


def test_a_read_before_the_other_had_written_finds_its_request_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The narrowest race, made certain: between the look-up and the insert somebody else
    submits.
    """
    key = make_key("generate", images_per_day=5)
    create, first = requests.create_request, []

    def late(**options: Any) -> GenerationRequest:
        monkeypatch.setattr(submissions.requests, "create_request", create)
        first.append(submit(key, body(image_num=2), **{"Idempotency-Key": "order-7"}).json())
        return create(**options)

    monkeypatch.setattr(submissions.requests, "create_request", late)
    answer = submit(key, body(image_num=2), **{"Idempotency-Key": "order-7"})

    assert [answer.json()] == first
    assert (GenerationRequest.objects.count(), spent()) == (1, 2)


# --- Images a day ---
def test_racing_submissions_cannot_have_more_images_than_the_day() -> None:
    key = make_key("generate", images_per_day=7)

    answers = at_once(*[lambda: submit(key, body(image_num=2))] * 10)

    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 7
    assert GenerationRequest.objects.count() == 3
    assert spent() == 6
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["reason"] == "RATE_LIMIT_EXCEEDED"
    assert 0 < int(refused["Retry-After"]) <= 86401
    assert submit(key, body(image_num=1)).status_code == 200, "one is left"


def test_calls_under_way_count_already(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call is noted when it is answered, which for a classification may be a minute later."""
    key, inner = make_key("classify", images_per_day=1), []
    judge = instant_classification.judge

    def slow(images: Any) -> Any:
        inner.append(classify(key, {"imageDataUrl": data_url(CLEAN)}).status_code)
        return judge(images)

    monkeypatch.setattr(instant_classification, "judge", slow)

    assert classify(key, {"imageDataUrl": data_url(CLEAN)}).status_code == 200
    assert inner == [429]


def test_more_than_a_whole_day_is_refused_and_no_limit_is_none() -> None:
    assert submit(make_key("generate", images_per_day=1), body(image_num=8)).status_code == 429
    assert submit(make_key("generate", images_per_day=0), body()).status_code == 429
    assert spent() == 0
    free = make_key("generate")
    assert [submit(free, body(image_num=8)).status_code for _ in range(3)] == [200] * 3
    assert spent() == 24, "counted all the same, for the day on which somebody sets a limit"


def test_a_call_that_comes_to_nothing_gives_its_images_back(
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
        assert spent() == 0
    assert classify(key, {"imageDataUrls": [data_url(CLEAN), "nonsense"]}).status_code == 400
    assert spent() == 0
    assert set(ApiCall.objects.values_list("images", flat=True)) == {0}
    assert submit(key, body(image_num=3)).status_code == 200


def _raising(error: Exception) -> Callable[..., Any]:
    def fail(**options: Any) -> Any:
        raise error

    return fail


def test_the_next_day_starts_at_nothing_and_keys_do_not_share() -> None:
    row, key = ApiKey.make(name="shop", scopes=["generate"], images_per_day=2)
    assert submit(key, body(image_num=2)).status_code == 200
    assert submit(key, body()).status_code == 429
    assert submit(make_key("generate", images_per_day=2), body()).status_code == 200
    ImagesOfDay.objects.filter(key=row).update(day=timezone.now().date() - timedelta(days=1))

    assert submit(key, body(image_num=2)).status_code == 200
    assert list(
        ImagesOfDay.objects.filter(key=row).order_by("day").values_list("images", flat=True)
    ) == [2, 2]


def test_old_days_are_forgotten() -> None:
    submit(make_key("generate"), body())
    ImagesOfDay.objects.update(day=timezone.now().date() - timedelta(days=32))
    housekeeping.delete_old_calls(500)

    assert not ImagesOfDay.objects.exists()


# --- Calls a minute ---
def test_who_comes_back_when_told_is_let_in() -> None:
    """Also with a limit so low that refused calls alone would fill the minute."""
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


def test_the_limit_holds_once_calls_are_answered_and_no_two_keys_share_it() -> None:
    key, other = make_key("generate", calls_per_minute=5), make_key("generate", calls_per_minute=5)

    answers = at_once(*[lambda: result(key, "x")] * 8)

    assert [answer.status_code for answer in answers].count(404) == 5
    assert set(at_once(*[lambda: result(key, "x").status_code] * 3)) == {429}
    assert result(other, "x").status_code == 404


def test_counting_a_call_takes_one_write_whatever_was_called_before(
    django_assert_num_queries: Any,
) -> None:
    row, key = ApiKey.make(name="busy", scopes=["generate"])
    assert result(key, "x").status_code == 404

    with django_assert_num_queries(1):
        assert row.take_call(timezone.now())
    row.refresh_from_db()
    assert row.calls_in_minute == 2


# --- Revocation ---
def test_a_revoked_key_is_refused_at_its_next_call() -> None:
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
