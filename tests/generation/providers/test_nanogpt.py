"""The client of nano-gpt: documented and broken responses, and the sandbox over a socket."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from generation.providers import http
from generation.providers.base import (
    InvalidAnswerError,
    PolicyViolationError,
    ProviderBusyError,
    ProviderError,
    ProviderMisconfiguredError,
    ProviderRejectedError,
    ServerFailedError,
    UnansweredError,
)
from generation.providers.nanogpt import (
    BYTES_MAX,
    NanoGpt,
    TooLargeError,
    split_cost,
    split_images,
)
from generation.sandbox import judging, marker

PAYLOADS = Path(__file__).parent / "payloads" / "nanogpt"
KEY = "key-very-secret"
TWO = [(b"one", "image/png"), (b"two", "image/jpeg")]


def provider(handler: Any) -> NanoGpt:
    made = NanoGpt(api_key=KEY, base_url="https://nano.test", label="nano-gpt")
    made.use_transport(httpx.MockTransport(handler))
    return made


def answering(name: str) -> NanoGpt:
    saved = json.loads((PAYLOADS / f"{name}.json").read_text())
    return provider(
        lambda request: httpx.Response(
            saved["status"], json=saved["body"], headers=saved["headers"]
        )
    )


def saying(content: Any, status: int = 200) -> NanoGpt:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return provider(lambda request: httpx.Response(status, content=body))


def error_of(made: NanoGpt, images: Any = TWO) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        made.classify(images)
    assert str(caught.value).endswith(".")
    assert KEY not in str(caught.value)
    return caught.value


# --- As documented ---
def test_images_are_sent_as_data_urls_in_one_field_with_the_key_in_a_header() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"has_nsfw_concepts": [False, True]})

    provider(handler).classify(TWO)
    assert str(seen[0].url) == "https://nano.test/api/nsfw/image"
    assert seen[0].headers["x-api-key"] == KEY
    assert "x-x402" not in seen[0].headers
    assert json.loads(seen[0].content) == {
        "imageDataUrls": ["data:image/png;base64,b25l", "data:image/jpeg;base64,dHdv"]
    }


def test_verdicts_are_in_order_with_their_share_of_the_cost() -> None:
    first, second = answering("reply").classify(TWO)
    assert (first.flagged, second.flagged) == (False, True)
    assert (first.position, second.position, second.sent) == (0, 1, 2)
    assert first.cost == second.cost == Decimal("0.0015")
    assert (first.currency, first.request_id, first.model) == ("USD", "req-7", "nsfw-classifier")


def test_other_currency_and_missing_request_id_are_accepted() -> None:
    verdict = answering("reply_xno").classify(TWO)[0]
    assert (verdict.currency, verdict.cost) == ("XNO", Decimal("0.0017"))
    assert answering("reply_without_request_id").classify(TWO)[0].request_id == ""


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("reply_truncated", InvalidAnswerError),
        ("error_400_urls", ProviderRejectedError),
        ("error_400_number", ProviderRejectedError),
        ("error_400_policy", PolicyViolationError),
        ("error_400_policy_object", PolicyViolationError),
        ("error_401", ProviderMisconfiguredError),
        ("error_401_object", ProviderMisconfiguredError),
        ("error_402", ProviderMisconfiguredError),
        ("error_402_challenge", ProviderMisconfiguredError),
        ("error_403", ProviderMisconfiguredError),
        ("error_404", ProviderMisconfiguredError),
        ("error_408", ProviderBusyError),
        ("error_409", ProviderRejectedError),
        ("error_413", TooLargeError),
        ("error_429", ProviderBusyError),
        ("error_429_daily", ProviderBusyError),
        ("error_500", ServerFailedError),
        ("error_503", ProviderBusyError),
        ("error_504", ServerFailedError),
    ],
)
def test_each_documented_error_response_raises_its_own_error(
    name: str, kind: type[ProviderError]
) -> None:
    found = error_of(answering(name))
    assert type(found) is kind
    body = json.loads((PAYLOADS / f"{name}.json").read_text())["body"]
    said = body.get("message") or body.get("error", "")
    said = said["message"] if isinstance(said, dict) else said
    assert str(said).rstrip(".") in str(found)


def test_retry_after_and_reason_are_passed_on() -> None:
    daily = error_of(answering("error_429_daily"))
    assert isinstance(daily, ProviderBusyError)
    assert (daily.retry_after, daily.reason) == (41000, "daily_rpd_limit_exceeded")


# --- Not as documented ---
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b'{"has_nsfw_conc',
        b"[]",
        b"null",
        b"[true, false]",
        {},
        {"has_nsfw_concepts": [True]},
        {"has_nsfw_concepts": [False] * 3},
        {"has_nsfw_concepts": []},
        {"has_nsfw_concepts": ["a", "b"]},
        {"has_nsfw_concepts": [False, None]},
        {"has_nsfw_concepts": [0, 0]},
        {"is_nsfw": False},
        {"has_nsfw_concepts": [False, False], "is_nsfw": True},
        {"has_nsfw_concepts": [True, False], "is_nsfw": False},
        {"has_nsfw_concepts": [False, False], "inputCount": 1},
        {"has_nsfw_concepts": [False, False], "truncated": True},
        {"has_nsfw_concepts": [False, False], "truncated": None},
        {"error": "Rate limit exceeded"},
    ],
)
def test_incomplete_response_raises_invalid_answer_error(answer: Any) -> None:
    assert type(error_of(saying(answer))) is InvalidAnswerError


def test_invalid_response_error_contains_the_cost() -> None:
    found = error_of(saying({"has_nsfw_concepts": [False], "cost": 0.0015, "currency": "USD"}))
    assert isinstance(found, InvalidAnswerError)
    assert (found.cost, found.currency) == (Decimal("0.0015"), "USD")


def test_missing_or_invalid_cost_does_not_affect_the_verdicts() -> None:
    for cost in ({}, {"cost": -1}, {"cost": 1e12}, {"cost": "?"}, {"cost": None}):
        verdicts = saying({"has_nsfw_concepts": [True, False]} | cost).classify(TWO)
        assert [(verdict.flagged, verdict.cost) for verdict in verdicts] == [
            (True, None),
            (False, None),
        ]


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (httpx.ConnectError("x"), ProviderBusyError),
        (httpx.ReadTimeout("x"), UnansweredError),
        (httpx.RemoteProtocolError("x"), UnansweredError),
        (httpx.UnsupportedProtocol("x"), ProviderMisconfiguredError),
    ],
)
def test_connection_failure_raises_its_own_error(
    failure: Exception, kind: type[ProviderError]
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise failure

    assert type(error_of(provider(handler))) is kind


def test_api_key_quoted_by_the_provider_is_masked() -> None:
    assert "[key]" in str(error_of(saying({"error": f"bad key {KEY}"}, 401)))


# --- Limits ---
def test_too_large_call_is_refused_before_sending() -> None:
    assert type(error_of(saying({}), [(b"x" * BYTES_MAX, "image/png")])) is TooLargeError
    for images in ([], [(b"x", "image/png")] * 11):
        with pytest.raises(ValueError, match="1 to 10"):
            saying({}).classify(images)


def test_images_are_split_into_calls_by_number_and_by_bytes() -> None:
    small, half, huge = (
        (b"x", "image/png"),
        (b"x" * (BYTES_MAX // 4 * 3 // 2), "image/png"),
        (b"x" * BYTES_MAX, "a/b"),
    )
    assert list(split_images([])) == []
    assert list(split_images([small] * 23)) == [range(0, 10), range(10, 20), range(20, 23)]
    assert list(split_images([half, half, half])) == [range(0, 1), range(1, 2), range(2, 3)]
    assert list(split_images([small, huge, small])) == [range(0, 1), range(1, 2), range(2, 3)]


@pytest.mark.parametrize("cost", ["0.015", "0.01", "0", "0.0000001", "1"])
def test_cost_shares_add_up_to_the_price(cost: str) -> None:
    shares = split_cost(Decimal(cost), 3)
    assert sum(share for share in shares if share is not None) == Decimal(cost).quantize(
        Decimal("0.000001")
    )
    assert min(share for share in shares if share is not None) >= 0


# --- Over a socket ---
def shown(*labels: tuple[str, int], shade: int = 90) -> tuple[bytes, str]:
    """Return a sandbox image whose marker names these categories."""
    picture = Image.new("RGB", (256, 192), (shade, 120, 150))
    marker.draw_marker(picture, labels)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue(), "image/png"


NUDE, GUN = shown(("explicit.nudity", 80)), shown(("violence.weapons", 99))
CLEAN, FAINT = shown(), shown(("explicit.nudity", 49))

over_a_socket = pytest.mark.django_db(transaction=True)


@pytest.fixture
def nanogpt(live_server: Any, settings: Any) -> Any:
    settings.CALLER_ALLOW = []
    return lambda key="sandbox": NanoGpt(
        api_key=key, base_url=f"{live_server.url}/sandbox/nano-gpt", label="nano-gpt (sandbox)"
    )


@over_a_socket
def test_sandbox_flags_images_by_their_marker(nanogpt: Any) -> None:
    unmarked = io.BytesIO()
    Image.new("RGB", (300, 200), "green").save(unmarked, "JPEG")
    verdicts = nanogpt().classify(
        [NUDE, GUN, CLEAN, FAINT, (unmarked.getvalue(), "image/jpeg"), NUDE]
    )
    assert [verdict.flagged for verdict in verdicts] == [True, False, False, False, False, True]
    assert sum(verdict.cost for verdict in verdicts) == Decimal("0.009")


@over_a_socket
def test_sandbox_accepts_4_mb_and_refuses_more(
    nanogpt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    padded = NUDE[0] + b"\0" * (BYTES_MAX * 3 // 4 - len(NUDE[0]) - 100)
    assert nanogpt().classify([(padded, "image/png")])[0].flagged
    monkeypatch.setattr("generation.providers.nanogpt.BYTES_MAX", 10**8)
    with pytest.raises(TooLargeError):
        nanogpt().classify([(padded, "image/png"), (padded, "image/png")])


@over_a_socket
@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("", ProviderMisconfiguredError),
        ("invalid", ProviderMisconfiguredError),
        ("sandbox-401", ProviderMisconfiguredError),
        ("sandbox-401-object", ProviderMisconfiguredError),
        ("sandbox-402", ProviderMisconfiguredError),
        ("sandbox-402-object", ProviderMisconfiguredError),
        ("sandbox-403", ProviderMisconfiguredError),
        ("sandbox-404", ProviderMisconfiguredError),
        ("sandbox-redirect", ProviderMisconfiguredError),
        ("sandbox-413", TooLargeError),
        ("sandbox-413-always", TooLargeError),
        ("sandbox-429", ProviderBusyError),
        ("sandbox-429-always", ProviderBusyError),
        ("sandbox-429-daily", ProviderBusyError),
        ("sandbox-500", ServerFailedError),
        ("sandbox-502", ServerFailedError),
        ("sandbox-503", ProviderBusyError),
        ("sandbox-flaky", ServerFailedError),
        ("sandbox-policy", PolicyViolationError),
        ("sandbox-policy-object", PolicyViolationError),
        ("sandbox-hang", UnansweredError),
        ("sandbox-html", InvalidAnswerError),
        ("sandbox-half", InvalidAnswerError),
        ("sandbox-empty", InvalidAnswerError),
        ("sandbox-short", InvalidAnswerError),
        ("sandbox-long", InvalidAnswerError),
        ("sandbox-miscounted", InvalidAnswerError),
        ("sandbox-truncated", InvalidAnswerError),
        ("sandbox-words", InvalidAnswerError),
        ("sandbox-nulls", InvalidAnswerError),
        ("sandbox-contradiction", InvalidAnswerError),
    ],
)
def test_sandbox_key_raises_its_error(
    nanogpt: Any, key: str, kind: type[ProviderError], monkeypatch: pytest.MonkeyPatch
) -> None:
    if key == "sandbox-hang":
        monkeypatch.setattr(http, "SUBMIT_TIMEOUT", httpx.Timeout(0.3))
        monkeypatch.setattr(judging, "HANGING", 0.8)
    with pytest.raises(ProviderError) as caught:
        nanogpt(key).classify([CLEAN, NUDE])
    assert type(caught.value) is kind


@over_a_socket
@pytest.mark.parametrize("key", ["sandbox-429", "sandbox-flaky"])
def test_sandbox_accepts_the_third_try_after_two_refusals(nanogpt: Any, key: str) -> None:
    for _ in range(2):
        with pytest.raises(ProviderBusyError):
            nanogpt(key).classify([NUDE])
    assert nanogpt(key).classify([NUDE])[0].flagged


@over_a_socket
def test_sandbox_keys_without_error_return_verdicts(
    nanogpt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "SLOW", 0.2)
    for key in (
        "sandbox-slow",
        "sandbox-bare",
        "sandbox-xno",
        "sandbox-odd-cost",
        "sandbox-413",
        "anything",
    ):
        assert nanogpt(key).classify([NUDE])[0].flagged
    assert not nanogpt("sandbox-policy").classify([CLEAN])[0].flagged


@over_a_socket
def test_check_raises_an_error_for_an_unusable_key(nanogpt: Any) -> None:
    nanogpt().check()
    for key in ("invalid", "sandbox-402", "sandbox-html", "sandbox-500", "sandbox-404"):
        with pytest.raises(ProviderError):
            nanogpt(key).check()
    answering("balance").check()


# --- The sandbox for other clients ---
def post(client: Any, body: Any, **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body)
    path = "/sandbox/nano-gpt/api/nsfw/image"
    return client.post(
        path, content, content_type="application/json", headers=headers or {"x-api-key": "k"}
    )


@pytest.mark.django_db
def test_sandbox_accepts_both_key_headers_and_every_image_field(client: Any, settings: Any) -> None:
    from generation.wire.nanogpt import IMAGE_FIELDS, data_url

    url = data_url(*NUDE)
    for headers in ({"x-api-key": "k"}, {"authorization": "Bearer k"}):
        for field in IMAGE_FIELDS:
            for value in (url, [url]):
                answer = post(client, {field: value}, **headers)
                assert answer.json()["has_nsfw_concepts"] == [True]
    assert post(client, {"imageUrl": url}, accept="x").status_code == 401
    settings.SANDBOX = False
    assert post(client, {"imageUrl": url}).status_code == 404


@pytest.mark.django_db
def test_sandbox_processes_and_bills_only_ten_images(client: Any) -> None:
    from generation.wire.nanogpt import data_url

    answer = post(client, {"imageDataUrls": [data_url(*CLEAN)] * 10 + ["not an image"] * 2}).json()
    assert (answer["truncated"], answer["inputCount"], answer["cost"]) == (True, 10, 0.015)
    assert answer["has_nsfw_concepts"] == [False] * 10


@pytest.mark.django_db
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        {},
        {"image_urls": []},
        {"image_urls": 5},
        {"model": "x", "imageUrl": "y"},
        {"imageUrl": "ftp://a/b"},
        {"imageUrl": "http://127.0.0.1:1/x.png"},
        {"imageUrl": "http://169.254.169.254/x"},
        {"imageDataUrl": "data:image/png;base64,AAAA"},
        {"imageDataUrl": "data:image/png;base64,%%"},
    ],
)
def test_sandbox_returns_400_for_an_invalid_body(client: Any, settings: Any, body: Any) -> None:
    settings.CALLER_ALLOW = []
    answer = post(client, body)
    assert answer.status_code == 400
    assert isinstance(answer.json()["error"], str)


@pytest.mark.django_db
def test_sandbox_fetches_image_urls_through_the_guarded_fetch(
    client: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from generation import fetching

    settings.CALLER_ALLOW = ["a.test:80"]
    seen: list[tuple[str, Any]] = []

    def fetch(url: str, **options: Any) -> fetching.Fetched:
        seen.append((url, options["allow"]))
        return fetching.Fetched(NUDE[0], "image/png", url)

    monkeypatch.setattr(fetching, "fetch", fetch)
    answer = post(client, {"image_urls": ["http://a.test/1.png"]})
    assert answer.json()["has_nsfw_concepts"] == [True]
    assert seen == [("http://a.test/1.png", ["a.test:80"])]
