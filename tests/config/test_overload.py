from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpResponse, StreamingHttpResponse
from django.test import Client, RequestFactory

from config.overload import Gate, OverloadMiddleware

pytestmark = pytest.mark.django_db


def test_waiting_request_gets_the_place_of_an_ended_one() -> None:
    gate = Gate(1, patience=600)
    assert gate.enter()
    entered = threading.Event()
    waiting = threading.Thread(target=lambda: gate.enter() and entered.set())
    waiting.start()
    assert not entered.is_set()

    gate.leave()

    waiting.join()
    assert entered.is_set()


def test_requests_are_refused_while_every_place_has_been_taken_for_too_long() -> None:
    gate = Gate(1, patience=0)
    assert gate.enter()
    assert not gate.enter()

    gate.leave()

    assert gate.enter()


def taken(settings: Any, response: HttpResponse | StreamingHttpResponse) -> OverloadMiddleware:
    settings.WEB_THREADS, settings.WEB_QUEUE_SECONDS = 1, 0
    return OverloadMiddleware(lambda request: response)


def test_streamed_response_keeps_its_place_until_it_is_closed(settings: Any) -> None:
    def parts() -> Iterator[bytes]:
        yield b"a"

    middleware = taken(settings, StreamingHttpResponse(parts()))
    request = RequestFactory().get("/")
    streamed = middleware(request)

    assert middleware(request).status_code == 503
    streamed.close()
    assert middleware(request).status_code == 200


def test_failing_view_gives_its_place_back(settings: Any) -> None:
    middleware = taken(settings, HttpResponse())

    def fail(request: Any) -> HttpResponse:
        raise RuntimeError

    for _ in range(2):
        middleware.get_response = fail
        with pytest.raises(RuntimeError):
            middleware(RequestFactory().get("/"))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/login/", "Not available right now"),
        ("/nowhere/", "Not available right now"),
        ("/v3/async/task-result", "too many requests"),
        ("/v1/assets", "Service Unavailable"),
    ],
)
def test_refusal_has_the_format_of_the_caller(
    path: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gate, "enter", lambda gate: False)

    answer = Client().get(path)

    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert text in answer.content.decode()
    assert Client().get("/healthz").status_code == 200
