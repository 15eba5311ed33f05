"""The client of Hasher-Matcher-Actioner: documented and broken responses, and the sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from generation.providers import http
from generation.providers.base import (
    InvalidAnswerError,
    ProviderBusyError,
    ProviderError,
    ProviderMisconfiguredError,
    ProviderRejectedError,
)
from generation.providers.hma import Hma
from generation.sandbox import judging
from generation.wire.hma import BankMatch

PAYLOADS = Path(__file__).parent / "payloads" / "hma"
KEY = "canary-hma-0123"
KNOWN, UNKNOWN = b"\xff" * 32, b"\x01" * 32
over_a_socket = pytest.mark.django_db(transaction=True)


def provider(handler: Any, key: str = KEY) -> Hma:
    made = Hma(api_key=key, base_url="https://hma.test", label="HMA")
    made.use_transport(httpx.MockTransport(handler))
    return made


def answering(name: str) -> Hma:
    saved = json.loads((PAYLOADS / f"{name}.json").read_text())
    return provider(lambda request: httpx.Response(saved["status"], json=saved["body"]))


def error_of(made: Hma) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        made.look_up(KNOWN)
    assert KEY not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("key", [KEY, ""])
def test_request_has_only_the_hash_and_the_key_in_a_header(key: str) -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={})

    assert provider(handler, key).look_up(KNOWN) == []
    (request,) = seen
    assert (request.method, request.content) == ("GET", b"")
    assert str(request.url) == (
        f"https://hma.test/m/lookup?signal_type=pdq&signal={'ff' * 32}&seed={'ff' * 32}"
    )
    assert request.headers.get("authorization") == (f"Bearer {KEY}" if key else None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("reply", [BankMatch(bank="TEST_BANK", content_id=1, distance="0")]),
        ("reply_names", [BankMatch(bank="TEST_BANK")]),
        ("reply_none", []),
    ],
)
def test_documented_reply_is_read(name: str, expected: list[BankMatch]) -> None:
    assert answering(name).look_up(KNOWN) == expected


def test_documented_status_passes_the_check() -> None:
    answering("status").check()


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        ("error_400", ProviderRejectedError, "is not enabled"),
        ("error_503", ProviderBusyError, "index not yet ready"),
    ],
)
def test_documented_error_raises_its_own_error(
    name: str, kind: type[ProviderError], sentence: str
) -> None:
    found = error_of(answering(name))
    assert type(found) is kind
    assert sentence in str(found)


@pytest.mark.parametrize(
    "body",
    [
        None,
        7,
        "yes",
        {"B": {}},
        {"B": ["x"]},
        {"B": [{"distance": "0"}]},
        {"B": [{"bank_content_id": "1"}]},
        {"B": [{"bank_content_id": 1, "distance": [0]}]},
        {"": [{"bank_content_id": 1}]},
        [7],
        [["B"]],
        {"matches": [1]},
    ],
)
def test_reply_of_another_form_raises_invalid_answer(body: Any) -> None:
    made = provider(lambda request: httpx.Response(200, json=body))
    assert type(error_of(made)) is InvalidAnswerError


@pytest.mark.parametrize("body", [{}, {"pdq": 7}, {"pdq": {"present": "?"}}, []])
def test_check_refuses_a_service_that_is_not_hma(body: Any) -> None:
    made = provider(lambda request: httpx.Response(200, json=body))
    with pytest.raises(ProviderError, match=r"does not answer like|no index"):
        made.check()


# --- The sandbox ---
@pytest.fixture
def hma(live_server: Any) -> Any:
    return lambda key="sandbox": Hma(
        api_key=key, base_url=f"{live_server.url}/sandbox/hma", label="HMA (sandbox)"
    )


@over_a_socket
def test_sandbox_knows_hashes_that_begin_with_f(hma: Any) -> None:
    assert hma().look_up(KNOWN) == [BankMatch(bank="SANDBOX_BANK", content_id=0xFFFF, distance="0")]
    assert hma("").look_up(UNKNOWN) == []
    assert hma("sandbox-names").look_up(KNOWN) == [BankMatch(bank="SANDBOX_BANK")]
    assert hma("sandbox-match").look_up(UNKNOWN)[0].content_id == 0x0101
    hma().check()
    with pytest.raises(ProviderBusyError, match="no index of PDQ"):
        hma("sandbox-unbuilt").check()


@over_a_socket
@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("invalid", ProviderMisconfiguredError),
        ("sandbox-401", ProviderMisconfiguredError),
        ("sandbox-404", ProviderMisconfiguredError),
        ("sandbox-redirect", ProviderMisconfiguredError),
        ("sandbox-disabled", ProviderRejectedError),
        ("sandbox-500", ProviderBusyError),
        ("sandbox-502", ProviderBusyError),
        ("sandbox-503", ProviderBusyError),
        ("sandbox-flaky", ProviderBusyError),
        ("sandbox-hang", ProviderBusyError),
        ("sandbox-html", InvalidAnswerError),
        ("sandbox-half", InvalidAnswerError),
        ("sandbox-number", InvalidAnswerError),
        ("sandbox-ids", InvalidAnswerError),
        ("sandbox-text", InvalidAnswerError),
    ],
)
def test_sandbox_key_raises_its_error(
    hma: Any, key: str, kind: type[ProviderError], monkeypatch: pytest.MonkeyPatch
) -> None:
    if key == "sandbox-hang":
        monkeypatch.setattr(http, "READ_TIMEOUT", httpx.Timeout(0.3))
        monkeypatch.setattr(judging, "HANGING", 0.8)
    with pytest.raises(ProviderError) as caught:
        hma(key).look_up(KNOWN)
    assert type(caught.value) is kind
