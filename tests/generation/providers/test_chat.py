"""The client of vision-language models: documented and broken responses of several servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from generation.providers import chat
from generation.providers.base import (
    InvalidAnswerError,
    ProviderBusyError,
    ProviderError,
    ProviderMisconfiguredError,
    ProviderRejectedError,
    ServerFailedError,
    UnansweredError,
)
from generation.providers.chat import ChatCompletions, Completion, FormatRefusedError

PAYLOADS = Path(__file__).parent / "payloads" / "vlm"
KEY = "key-very-secret"
SCHEMA = {"type": "object"}


@pytest.fixture(autouse=True)
def _forget_servers() -> Iterator[None]:
    chat._without_schema.clear()
    yield
    chat._without_schema.clear()


def connect(handler: Any, **options: Any) -> ChatCompletions:
    known = {"api_key": KEY, "base_url": "https://vlm.test/v1", "label": "Vision model"}
    made = ChatCompletions(**{**known, "model": "qwen", **options})
    made.use_transport(httpx.MockTransport(handler))
    return made


def answering(name: str, **options: Any) -> ChatCompletions:
    saved = json.loads((PAYLOADS / f"{name}.json").read_text())
    return connect(
        lambda request: httpx.Response(
            saved["status"], json=saved["body"], headers=saved["headers"]
        ),
        **options,
    )


def complete(client: ChatCompletions) -> Completion:
    return client.complete(
        system="Look.", content=b"one", media_type="image/png", schema=SCHEMA, max_tokens=100
    )


def error_of(client: ChatCompletions) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        complete(client)
    assert str(caught.value).endswith(".")
    assert KEY not in str(caught.value)
    return caught.value


# --- As documented ---
def test_call_has_prompt_picture_schema_and_key() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"choices": [{"message": {"content": "{}"}}]})

    complete(connect(handler))
    assert str(seen[0].url) == "https://vlm.test/v1/chat/completions"
    assert seen[0].headers["authorization"] == f"Bearer {KEY}"
    image = {"url": "data:image/png;base64,b25l", "detail": "high"}
    assert json.loads(seen[0].content) == {
        "model": "qwen",
        "messages": [
            {"role": "system", "content": "Look."},
            {"role": "user", "content": [{"type": "image_url", "image_url": image}]},
        ],
        "temperature": 0,
        "max_tokens": 100,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA},
        },
    }


def test_server_without_key_gets_no_authorization() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"choices": [{"message": {"content": "{}"}}]})

    complete(connect(handler, api_key=""))
    assert "authorization" not in seen[0].headers


@pytest.mark.parametrize("name", ["vllm", "ollama", "llamacpp", "novita", "cost"])
def test_reply_of_each_server_is_read(name: str) -> None:
    completion = complete(answering(f"reply_{name}"))
    assert completion.text == '{"image_visible": true}'
    assert completion.response_format == "json_schema"
    assert completion.usage.prompt_tokens is not None
    assert completion.request_id
    assert completion.model


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("reply_refusal", InvalidAnswerError),
        ("reply_filtered", InvalidAnswerError),
        ("reply_length", InvalidAnswerError),
        ("error_vllm_context", ProviderRejectedError),
        ("error_vllm_nested", ProviderRejectedError),
        ("error_vllm_model", ProviderMisconfiguredError),
        ("error_vllm_key", ProviderMisconfiguredError),
        ("error_ollama_model", ProviderMisconfiguredError),
        ("error_llamacpp_loading", ProviderBusyError),
        ("error_llamacpp_image", ServerFailedError),
        ("error_novita_key", ProviderMisconfiguredError),
        ("error_novita_balance", ProviderMisconfiguredError),
        ("error_novita_model", ProviderMisconfiguredError),
        ("error_novita_rate", ProviderBusyError),
        ("error_novita_body", ProviderRejectedError),
        ("error_novita_down", ProviderBusyError),
        ("error_nanogpt_balance", ProviderMisconfiguredError),
        ("error_nanogpt_policy", ProviderRejectedError),
        ("error_openai_quota", ProviderMisconfiguredError),
        ("error_openai_schema", FormatRefusedError),
        ("error_fastapi", ProviderRejectedError),
        ("error_gateway", ServerFailedError),
    ],
)
def test_each_documented_error_raises_its_own_error_with_the_words_of_the_server(
    name: str, kind: type[ProviderError]
) -> None:
    found = error_of(answering(name))
    assert type(found) is kind
    body = json.loads((PAYLOADS / f"{name}.json").read_text())["body"]
    if "choices" in body:
        said = body["choices"][0]["message"].get("refusal") or ""
    else:
        error = body.get("error")
        source = error if isinstance(error, dict) else body
        said = error if isinstance(error, str) else source.get("message") or source["detail"]
    assert said.rstrip(".") in str(found)


def test_retry_after_and_reason_are_passed_on() -> None:
    limited = error_of(answering("error_novita_rate"))
    assert isinstance(limited, ProviderBusyError)
    assert (limited.retry_after, limited.limited) == (7, True)
    assert limited.reason == "RATE_LIMIT_EXCEEDED"


# --- Costs ---
def test_cost_is_the_stated_one_then_by_tokens_then_unknown() -> None:
    prices = {"input_price": Decimal("0.8"), "output_price": Decimal("4")}
    assert complete(answering("reply_cost", **prices)).cost == Decimal("0.00125")
    # 3120 × 0.8 and 600 × 4 per million
    assert complete(answering("reply_vllm", **prices)).cost == Decimal("0.004896")
    assert complete(answering("reply_vllm")).cost is None


def test_unusable_answer_has_the_cost_of_its_tokens() -> None:
    found = error_of(answering("reply_length", output_price=Decimal(10)))
    assert isinstance(found, InvalidAnswerError)
    assert (found.cost, found.currency) == (Decimal("0.02"), "USD")


def test_estimate_is_zero_without_prices() -> None:
    system = "x" * 4000
    assert connect(None).estimate_cost(system=system, answer_tokens=2000) == 0
    priced = connect(None, input_price=Decimal(2), output_price=Decimal(8))
    # 1000 + 1500 tokens × 2 and 2000 tokens × 8 per million
    assert priced.estimate_cost(system=system, answer_tokens=2000) == Decimal("0.021")


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        {"prompt_tokens": "many", "completion_tokens": -1, "cost": "free"},
        {"prompt_tokens": True, "cost": -0.5},
        {"cost": 1e300},
        {"cost": {"usd": 1}},
    ],
)
def test_unreadable_usage_is_unknown_and_not_an_error(usage: Any) -> None:
    reply = {"choices": [{"message": {"content": "{}"}}], "usage": usage}
    completion = complete(
        connect(lambda request: httpx.Response(200, json=reply), output_price=Decimal(1))
    )
    assert completion.cost is None
    assert completion.text == "{}"


# --- Not as documented ---
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'{"choices": [{"mess',
        b"[]",
        b"null",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [{"message": {"content": "a"}}, {"message": {"content": "b"}}]}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": null}}]}',
        b'{"choices": [{"message": {"content": "  "}}]}',
        b'{"choices": [{"message": {"content": [{"type": "text", "text": "{}"}]}}]}',
        b'{"choices": [{"message": {"content": "\\u0000"}}]}',
        b'{"choices": [{"message": {"content": "{}"}, "x": NaN}]}',
        b"[" * 100_000,
    ],
)
def test_unreadable_reply_is_an_invalid_answer(body: bytes) -> None:
    found = error_of(connect(lambda request: httpx.Response(200, content=body)))
    assert isinstance(found, InvalidAnswerError)


def test_broken_connection_is_unanswered_and_refused_connection_is_not() -> None:
    def break_off(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("")

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("")

    assert type(error_of(connect(break_off))) is UnansweredError
    assert type(error_of(connect(refuse))) is ProviderBusyError


def test_key_in_an_answer_is_hidden() -> None:
    reply = {"id": KEY, "model": KEY, "choices": [{"message": {"content": f"it is {KEY}"}}]}
    completion = complete(connect(lambda request: httpx.Response(200, json=reply)))
    assert KEY not in repr(completion)


# --- Servers without schemas ---
def test_server_without_schema_is_asked_for_an_object_and_remembered() -> None:
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        kind = json.loads(request.content)["response_format"]
        asked.append(kind["type"])
        if kind["type"] == "json_schema":
            saved = json.loads((PAYLOADS / "error_openai_schema.json").read_text())
            return httpx.Response(400, json=saved["body"])
        assert kind == {"type": "json_object"}
        return httpx.Response(200, json={"choices": [{"message": {"content": "{}"}}]})

    client = connect(handler)
    assert complete(client).response_format == "json_object"
    assert complete(connect(handler)).response_format == "json_object"
    assert asked == ["json_schema", "json_object", "json_object"]
    asked.clear()
    complete(connect(handler, model="another"))
    assert asked == ["json_schema", "json_object"]


def test_other_refusal_is_not_asked_again() -> None:
    calls: list[int] = []

    def handler(request: httpx.Request) -> httpx.Response:
        calls.append(1)
        return httpx.Response(400, json={"error": {"message": "The image is too large."}})

    assert type(error_of(connect(handler))) is ProviderRejectedError
    assert calls == [1]


# --- Check ---
def test_check_reads_the_list_of_models() -> None:
    answering("models", model="Qwen/Qwen2.5-VL-7B-Instruct").check()
    listed = {"data": [{"id": "qwen:latest"}]}
    connect(lambda request: httpx.Response(200, json=listed)).check()


def test_check_names_listed_models_if_the_own_one_is_missing() -> None:
    with pytest.raises(ProviderMisconfiguredError, match=r"It lists Qwen/Qwen2\.5-VL-7B-Instruct"):
        answering("models", model="qwen-vl").check()
    with pytest.raises(ProviderMisconfiguredError, match=r"It lists none\."):
        connect(lambda request: httpx.Response(200, json={"data": []})).check()


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"data": {}}'])
def test_check_of_another_service_names_the_url(body: bytes) -> None:
    client = connect(lambda request: httpx.Response(200, content=body))
    with pytest.raises(ProviderMisconfiguredError, match="URL of Vision model in the settings"):
        client.check()
