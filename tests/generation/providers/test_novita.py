"""Responses of Novita that the sandbox does not produce: malformed, truncated, foreign, none."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from generation.providers import http
from generation.providers.base import (
    Detection,
    OutcomeUnknownError,
    ProviderBusyError,
    ProviderError,
    ProviderMisconfiguredError,
    ProviderRejectedError,
    Submission,
    TaskNotFoundError,
    TaskResult,
    TaskState,
)
from generation.providers.novita.client import Novita
from tests.generation.providers.factories import make_submission

KEY = "sk_very_secret_key"
SUBMISSION = make_submission(seed=5)
Handler = Callable[[httpx.Request], httpx.Response]


def provider(handler: Handler | None = None, base_url: str = "https://novita.test") -> Novita:
    made = Novita(slug="novita", api_key=KEY, base_url=base_url, label="Novita")
    if handler is not None:
        made.use_transport(httpx.MockTransport(handler))
    return made


def answering(status: int, content: Any = None, **headers: str) -> Handler:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return lambda request: httpx.Response(
        status,
        content=body,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


def failing(error: Exception) -> Handler:
    def handler(request: httpx.Request) -> httpx.Response:
        raise error

    return handler


def submit_error(handler: Handler) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        provider(handler).submit(SUBMISSION, on_answer=lambda raw: None)
    return caught.value


def poll(handler: Handler, task_id: str = "t") -> TaskResult | ProviderError:
    async def collect() -> list[tuple[str, TaskResult | ProviderError]]:
        return [pair async for pair in provider(handler).poll([task_id])]

    ((asked, answer),) = asyncio.run(collect())
    assert asked == task_id
    return answer


def polled(*images: Any, **task: Any) -> TaskResult:
    state = {"task_id": "t", "status": "TASK_STATUS_SUCCEED"} | task
    answer = poll(answering(200, {"task": state, "images": list(images)}))
    assert isinstance(answer, TaskResult), answer
    return answer


# --- Sent requests ---
def sent(submission: Submission) -> httpx.Request:
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json={"task_id": "t"})

    provider(handler).submit(submission, on_answer=lambda raw: None)
    return requests[0]


def test_submission_is_sent_as_documented() -> None:
    request = sent(
        make_submission(
            model_name="m",
            prompt="p",
            negative_prompt="n",
            seed=0,
            guidance_scale=7.5,
            enable_nsfw_detection=True,
            nsfw_detection_level=2,
            response_image_type="webp",
        )
    )
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert str(request.url) == "https://novita.test/v3/async/txt2img"
    assert json.loads(request.content) == {
        "extra": {
            "response_image_type": "webp",
            "enable_nsfw_detection": True,
            "nsfw_detection_level": 2,
        },
        "request": {
            "model_name": "m",
            "prompt": "p",
            "negative_prompt": "n",
            "width": 512,
            "height": 512,
            "image_num": 1,
            "steps": 20,
            "guidance_scale": 7.5,
            "sampler_name": "Euler a",
            "seed": 0,
        },
    }


def test_empty_negative_prompt_is_not_sent() -> None:
    assert "negative_prompt" not in json.loads(sent(SUBMISSION).content)["request"]


# --- Submitting ---
def test_older_response_envelope_is_accepted() -> None:
    handler = answering(200, {"code": 0, "msg": "", "data": {"task_id": "old"}})
    assert provider(handler).submit(SUBMISSION, on_answer=lambda raw: None) == "old"


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (answering(400, {"reason": "ILLEGAL_PROMPT"}), ProviderRejectedError),
        (answering(400, {"reason": "MISSING_API_KEY"}), ProviderMisconfiguredError),
        (answering(400, {"reason": "BILLING_BALANCE_NOT_ENOUGH"}), ProviderMisconfiguredError),
        (answering(401, b""), ProviderMisconfiguredError),
        (answering(403, {"reason": "INVALID_API_KEY"}), ProviderMisconfiguredError),
        (answering(403, {"reason": "SOMETHING_NEW"}), ProviderMisconfiguredError),
        (answering(404, {"message": "route not found"}), ProviderMisconfiguredError),
        (answering(404, {"reason": "TASK_NOT_FOUND"}), ProviderRejectedError),
        (answering(302, b"", location="https://elsewhere.test/"), ProviderMisconfiguredError),
        (answering(413, b"<html>"), ProviderRejectedError),
        (answering(422, {}), ProviderRejectedError),
        (answering(429, {}), ProviderBusyError),
        (answering(503, {}, retry_after="7"), ProviderBusyError),
        (answering(503, {}), OutcomeUnknownError),
        (answering(500, {"reason": "CREATE_TASK_FAILED"}), OutcomeUnknownError),
        (answering(502, b"<html>"), OutcomeUnknownError),
        (answering(200, b"<html>"), OutcomeUnknownError),
        (answering(200, b""), OutcomeUnknownError),
        (answering(200, {}), OutcomeUnknownError),
        (answering(200, []), OutcomeUnknownError),
        (answering(200, b"[" * 100_000), OutcomeUnknownError),
        (answering(200, b'{"task_id": "a\\u0000b"}'), OutcomeUnknownError),
        (answering(200, {"code": 7, "msg": "no money"}), ProviderMisconfiguredError),
        (answering(200, {"code": 6, "msg": "range"}), ProviderRejectedError),
        (answering(200, {"code": -1, "msg": "oops"}), OutcomeUnknownError),
        (failing(httpx.ConnectError("refused")), ProviderBusyError),
        (failing(httpx.ConnectTimeout("slow")), ProviderBusyError),
        (failing(httpx.ReadTimeout("slow")), OutcomeUnknownError),
        (failing(httpx.WriteTimeout("slow")), OutcomeUnknownError),
        (failing(httpx.ReadError("reset")), OutcomeUnknownError),
        (failing(httpx.RemoteProtocolError("closed")), OutcomeUnknownError),
        (failing(httpx.UnsupportedProtocol("ftp")), ProviderMisconfiguredError),
    ],
)
def test_failed_submission_raises_its_own_error(
    handler: Handler, error: type[ProviderError]
) -> None:
    caught = submit_error(handler)
    assert type(caught) is error
    assert str(caught).startswith(("Novita", "The request was sent to Novita", "The URL of Novita"))
    assert str(caught).endswith(".")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("99999999999", 86_400),
        ("soon", None),
        ("-3", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
    ],
)
def test_retry_after_is_read_in_seconds_or_as_a_date(value: str, seconds: float | None) -> None:
    caught = submit_error(answering(429, {}, retry_after=value))
    assert isinstance(caught, ProviderBusyError)
    assert caught.retry_after == seconds


def test_api_key_quoted_by_the_provider_is_masked() -> None:
    seen: list[str] = []
    handler = answering(403, {"reason": f"BAD {KEY}", "message": f"wrong key\n {KEY}"})
    with pytest.raises(ProviderMisconfiguredError) as caught:
        provider(handler).submit(SUBMISSION, on_answer=seen.append)
    assert KEY not in f"{caught.value!r} {caught.value.reason} {seen}"
    assert "wrong key [key]" in str(caught.value)


def test_raw_response_is_truncated_to_its_maximum_length() -> None:
    seen: list[str] = []
    with pytest.raises(OutcomeUnknownError):
        provider(answering(200, b"\0\xff" + b"x" * 9000)).submit(SUBMISSION, on_answer=seen.append)
    assert len(seen[0]) == http.RAW_ANSWER_MAX
    assert "\0" not in seen[0]


def test_too_long_response_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_MAX", 1000)
    assert type(submit_error(answering(200, b"x" * 2000))) is OutcomeUnknownError
    assert type(poll(answering(200, b"x" * 2000))) is ProviderBusyError


# --- Through a real socket ---
@pytest.fixture
def talker() -> Iterator[Callable[[bytes], str]]:
    """Start a server that reads a request, sends the given bytes and closes the connection.

    It accepts any number of connections, because some clients try twice.
    """
    servers: list[socket.socket] = []

    def serve(says: bytes) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def talk() -> None:
            with suppress(OSError):  # closed at the end of the test
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(says)

        threading.Thread(target=talk, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}"

    yield serve
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def test_truncated_response_is_kept_and_the_outcome_is_unknown(
    talker: Callable[[bytes], str],
) -> None:
    seen: list[str] = []
    url = talker(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"task_id": "half')
    with pytest.raises(OutcomeUnknownError):
        provider(base_url=url).submit(SUBMISSION, on_answer=seen.append)
    assert seen == ['{"task_id": "half']


def test_closed_connection_leaves_the_outcome_unknown(
    talker: Callable[[bytes], str],
) -> None:
    with pytest.raises(OutcomeUnknownError):
        provider(base_url=talker(b"")).submit(SUBMISSION, on_answer=lambda raw: None)


def test_refused_connection_raises_provider_busy_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(ProviderBusyError):
        provider(base_url=url).submit(SUBMISSION, on_answer=lambda raw: None)


@pytest.mark.parametrize(
    "says", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", b"nonsense\r\n\r\n"]
)
def test_truncated_poll_response_raises_provider_busy_error(
    talker: Callable[[bytes], str], says: bytes
) -> None:
    async def collect() -> list[TaskResult | ProviderError]:
        return [answer async for _, answer in provider(base_url=talker(says)).poll(["t"])]

    assert [type(answer) for answer in asyncio.run(collect())] == [ProviderBusyError]


# --- Polling ---
@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (answering(404, {"reason": "TASK_NOT_FOUND"}), TaskNotFoundError),
        (answering(404, {"message": "route not found"}), ProviderMisconfiguredError),
        (answering(403, {"reason": "INVALID_API_KEY"}), ProviderMisconfiguredError),
        (answering(429, {}), ProviderBusyError),
        (answering(500, {"reason": "GET_RESULT_FAILED"}), ProviderBusyError),
        (answering(504, b"<html>"), ProviderBusyError),
        (answering(200, b"<html>"), ProviderBusyError),
        (answering(200, {"task": {"task_id": "t"}}), ProviderBusyError),
        (
            answering(200, {"task": {"task_id": "another", "status": "TASK_STATUS_SUCCEED"}}),
            ProviderBusyError,
        ),
        (
            answering(200, b'{"task": {"task_id": "t", "status": "x", "eta": NaN}}'),
            ProviderBusyError,
        ),
        (failing(httpx.ReadTimeout("slow")), ProviderBusyError),
        (failing(httpx.ConnectError("refused")), ProviderBusyError),
    ],
)
def test_failed_poll_returns_its_own_error(handler: Handler, error: type[ProviderError]) -> None:
    assert type(poll(handler)) is error


@pytest.mark.parametrize("status", ["TASK_STATUS_UNKNOWN", "TASK_STATUS_CANCELED", "", "succeed"])
def test_undocumented_status_is_unrecognised(status: str) -> None:
    assert polled(status=status).state is TaskState.UNRECOGNISED


@pytest.mark.parametrize(
    ("given", "read"), [(33.7, 33), (-1, 0), (250, 100), (None, 0), (1e300, 100)]
)
def test_progress_is_limited_to_0_to_100(given: Any, read: int) -> None:
    assert polled(progress_percent=given, status="TASK_STATUS_PROCESSING").progress == read


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (None, None),
        ({}, Detection(valid=None, confidence=None)),
        ({"valid": None, "confidence": 3}, Detection(valid=None, confidence=None)),
        ([], Detection(valid=None, confidence=None)),
        ("x", Detection(valid=None, confidence=None)),
        ({"valid": False, "confidence": 0}, Detection(valid=False, confidence=Decimal("0.0"))),
        ({"valid": True, "confidence": 3}, Detection(valid=True, confidence=Decimal("3.0"))),
    ],
)
def test_incomplete_detection_has_no_valid_flag(given: Any, read: Detection | None) -> None:
    assert polled({"image_url": "u", "nsfw_detection_result": given}).images[0].detection == read
    assert polled({"image_url": "u"}).images[0].detection is None


@pytest.mark.parametrize(
    ("given", "read"), [(12.5, Decimal("12.5")), (None, None), (140, None), (-1, None)]
)
def test_confidence_out_of_range_is_none(given: Any, read: Decimal | None) -> None:
    found = polled(
        {"image_url": "u", "nsfw_detection_result": {"valid": True, "confidence": given}}
    )
    assert found.images[0].detection is not None
    assert found.images[0].detection.confidence == read


@pytest.mark.parametrize(
    ("ttl", "query", "seconds"),
    [
        ("3600", "", 3600),
        (60, "", 60),
        ("0", "", 3600),
        ("soon", "", 3600),
        (None, "", 3600),
        ("3600", "?X-Amz-Date={now}&X-Amz-Expires=120", 120),
        (60, "?X-Amz-Date={now}&X-Amz-Expires=3600", 60),
        ("0", "?X-Amz-Date={now}&X-Amz-Expires=7200", 7200),
        ("3600", "?X-Amz-Date=yesterday&X-Amz-Expires=120", 3600),
        ("3600", "?X-Amz-Date={now}&X-Amz-Expires=-5", 3600),
    ],
)
def test_image_url_expires_at_the_earlier_of_its_two_dates(
    ttl: Any, query: str, seconds: int
) -> None:
    now = datetime.now(UTC)
    url = "https://s3.test/a.png" + query.format(now=f"{now:%Y%m%dT%H%M%SZ}")
    image = polled({"image_url": url, "image_url_ttl": ttl, "image_type": "png"}).images[0]
    assert abs(image.expires_at - now - timedelta(seconds=seconds)) < timedelta(seconds=5)


def test_image_without_a_url_keeps_its_position() -> None:
    assert [(image.position, image.url) for image in polled({}, {"image_url": "u"}).images] == [
        (0, ""),
        (1, "u"),
    ]


def test_parallel_polls_are_limited() -> None:
    running, most = 0, 0

    async def ask(item: str) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return item.upper()

    async def collect() -> list[tuple[str, Any]]:
        return [pair async for pair in http.call_each((f"a{n}" for n in range(50)), ask, limit=7)]

    assert sorted(asyncio.run(collect())) == sorted((f"a{n}", f"A{n}") for n in range(50))
    assert most == 7


def test_programming_error_in_a_poll_is_raised() -> None:
    async def ask(item: str) -> str:
        raise KeyError(item)

    async def collect() -> None:
        async for _ in http.call_each(["a"], ask, limit=1):
            pass

    with pytest.raises(KeyError):
        asyncio.run(collect())


def test_closing_a_poll_early_cancels_its_tasks() -> None:
    async def ask(item: str) -> str:
        await asyncio.sleep(0 if item == "quick" else 60)
        return item

    async def collect() -> int:
        answers = http.call_each(["slow", "quick"], ask, limit=2)
        async for item, _ in answers:
            assert item == "quick"
            break
        await answers.aclose()
        return len(asyncio.all_tasks())

    assert asyncio.run(collect()) == 1


# --- Models ---
def test_unusable_and_unreadable_models_are_left_out() -> None:
    rows = [
        {
            "id": 1,
            "sd_name": "good.safetensors",
            "name": "Good",
            "status": 1,
            "is_sdxl": True,
            "base_model": "SDXL",
        },
        {"id": 2, "sd_name": "off.safetensors", "name": "Off", "status": 0},
        {"id": 3, "name": "nameless"},
        "nonsense",
    ]
    page = provider(
        answering(200, {"models": rows, "pagination": {"next_cursor": "c_x"}})
    ).list_models()
    assert [(model.name, model.title, model.is_sdxl) for model in page.models] == [
        ("good.safetensors", "Good", True)
    ]
    assert page.next_cursor == "c_x"


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"pagination": 3}'])
def test_unreadable_page_of_models_raises_provider_busy_error(body: bytes) -> None:
    with pytest.raises(ProviderBusyError):
        provider(answering(200, body)).list_models()
