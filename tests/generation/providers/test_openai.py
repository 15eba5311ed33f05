"""The client of OpenAI's moderation: documented and broken responses, and the sandbox."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from generation.providers import http
from generation.providers.base import (
    InvalidAnswerError,
    ProviderBusyError,
    ProviderError,
    ProviderMisconfiguredError,
    ProviderRejectedError,
    ServerFailedError,
    UnansweredError,
)
from generation.providers.openai import OpenAI
from generation.sandbox import judging, marker
from generation.sandbox import openai as sandbox
from generation.sandbox.cards import BY_SLUG
from generation.wire import openai as wire

PAYLOADS = Path(__file__).parent / "payloads" / "openai"
KEY = "sk-canary-openai-0123"


def provider(handler: Any) -> OpenAI:
    made = OpenAI(api_key=KEY, base_url="https://openai.test/v1", label="OpenAI moderation")
    made.use_transport(httpx.MockTransport(handler))
    return made


def load(name: str) -> Any:
    return json.loads((PAYLOADS / f"{name}.json").read_text())


def answering(name: str) -> OpenAI:
    saved = load(name)
    return provider(
        lambda request: httpx.Response(
            saved["status"], json=saved["body"], headers=saved["headers"]
        )
    )


def saying(content: Any, status: int = 200) -> OpenAI:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return provider(lambda request: httpx.Response(status, content=body))


def error_of(made: OpenAI) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        made.moderate(b"image", "image/png")
    assert str(caught.value).endswith(".")
    assert KEY not in str(caught.value)
    return caught.value


# --- As documented ---
def test_request_has_one_image_as_a_data_url_and_the_key_in_a_header() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=load("reply_clean")["body"])

    provider(handler).moderate(b"one", "image/webp")
    assert str(seen[0].url) == "https://openai.test/v1/moderations"
    assert seen[0].headers["authorization"] == f"Bearer {KEY}"
    assert json.loads(seen[0].content) == {
        "model": "omni-moderation-latest",
        "input": [{"type": "image_url", "image_url": {"url": "data:image/webp;base64,b25l"}}],
    }


def test_documented_reply_is_read() -> None:
    (result,) = answering("reply").moderate(b"one", "image/png").results
    assert result.flagged
    assert result.category_scores["violence"] == 0.8599265510337075
    assert result.category_applied_input_types["violence"] == ["image"]
    assert result.category_applied_input_types["hate"] == []


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        ("error_400_too_many_images", ProviderRejectedError, "one image per call"),
        ("error_400_image", ProviderRejectedError, "Invalid image"),
        ("error_401", ProviderMisconfiguredError, "the key is wrong"),
        ("error_403", ProviderMisconfiguredError, "territory not supported"),
        ("error_404_model", ProviderMisconfiguredError, "may not use the model"),
        ("error_429", ProviderBusyError, "Rate limit reached"),
        ("error_429_quota", ProviderMisconfiguredError, "no quota left"),
        ("error_500", ServerFailedError, "had an error"),
        ("error_503", ProviderBusyError, "overloaded"),
    ],
)
def test_each_documented_error_response_raises_its_own_error(
    name: str, kind: type[ProviderError], sentence: str
) -> None:
    found = error_of(answering(name))
    assert type(found) is kind
    assert sentence in str(found)


def test_retry_after_and_reason_are_passed_on() -> None:
    found = error_of(answering("error_429"))
    assert isinstance(found, ProviderBusyError)
    assert (found.retry_after, found.reason, found.limited) == (7, "rate_limit_exceeded", True)


# --- Not as documented ---
def changed(**changes: Any) -> dict[str, Any]:
    body = load("reply")["body"]
    result = {k: v for k, v in {**body["results"][0], **changes}.items() if v is not ...}
    return {**body, "results": [result]}


RESULT = load("reply")["body"]["results"][0]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b'{"results": [',
        b"[]",
        b"null",
        {},
        {"model": "m"},
        {"model": "m", "results": None},
        {"model": "m", "results": []},
        {"model": "m", "results": [RESULT, RESULT]},
        {"model": "m", "results": [None]},
        {"model": 7, "results": [RESULT]},
        {"results": [RESULT]},
        changed(flagged=...),
        changed(flagged="false"),
        changed(flagged=0),
        changed(categories=...),
        changed(categories=[]),
        changed(categories={"violence": "no"}),
        changed(category_scores=...),
        changed(category_scores={"violence": "0.1"}),
        changed(category_scores={"violence": 1.01}),
        changed(category_scores={"violence": -0.01}),
        changed(category_scores={"violence": True}),
        changed(category_applied_input_types=...),
        changed(category_applied_input_types={"violence": "image"}),
        b'{"model": "m", "results": [{"flagged": false, "categories": {}, "category_scores":'
        b' {"violence": NaN}, "category_applied_input_types": {}}]}',
        b'{"model": "m", "results": [{"flagged": false, "categories": {}, "category_scores":'
        b' {"violence": -1e999}, "category_applied_input_types": {}}]}',
    ],
)
def test_implausible_response_is_an_invalid_answer(answer: Any) -> None:
    assert type(error_of(saying(answer))) is InvalidAnswerError


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (httpx.ConnectError("x"), ProviderBusyError),
        (httpx.ReadTimeout("x"), UnansweredError),
        (httpx.RemoteProtocolError("x"), UnansweredError),
    ],
)
def test_missing_response_is_retried(problem: Exception, kind: type[ProviderError]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise problem

    assert type(error_of(provider(handler))) is kind


# --- Over a socket ---
def shown(*labels: tuple[str, int], kind: str = "PNG") -> tuple[bytes, str]:
    """Return a sandbox image whose marker names these categories."""
    picture = Image.new("RGB", (256, 192), (90, 120, 150))
    marker.draw_marker(picture, labels)
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue(), f"image/{kind.lower()}"


GUN = shown(("violence.weapons", 80))
over_a_socket = pytest.mark.django_db(transaction=True)


@pytest.fixture
def openai(live_server: Any) -> Any:
    return lambda key="sandbox": OpenAI(
        api_key=key, base_url=f"{live_server.url}/sandbox/openai/v1", label="OpenAI (sandbox)"
    )


@over_a_socket
def test_sandbox_scores_images_by_their_marker(openai: Any) -> None:
    image = shown(("explicit.nudity", 80), ("violence.graphic", 30), ("alcohol", 99), kind="WEBP")
    (result,) = openai().moderate(*image).results
    scores = result.category_scores
    assert (scores["sexual"], scores["violence"], scores["violence/graphic"]) == (0.8, 0.3, 0.3)
    assert result.flagged
    assert [name for name, flagged in result.categories.items() if flagged] == ["sexual"]
    for name in wire.TEXT_CATEGORIES:
        assert (scores[name], result.category_applied_input_types[name]) == (0, [])
    for name in wire.IMAGE_CATEGORIES:
        assert scores[name] > 0
        assert result.category_applied_input_types[name] == ["image"]
    (clean,) = openai().moderate(*shown()).results
    assert not clean.flagged
    openai().check()
    assert set(sandbox.NAMES) <= set(BY_SLUG)


@over_a_socket
@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("", ProviderMisconfiguredError),
        ("invalid", ProviderMisconfiguredError),
        ("sandbox-401", ProviderMisconfiguredError),
        ("sandbox-403", ProviderMisconfiguredError),
        ("sandbox-404", ProviderMisconfiguredError),
        ("sandbox-quota", ProviderMisconfiguredError),
        ("sandbox-redirect", ProviderMisconfiguredError),
        ("sandbox-too-many", ProviderRejectedError),
        ("sandbox-429", ProviderBusyError),
        ("sandbox-429-always", ProviderBusyError),
        ("sandbox-500", ServerFailedError),
        ("sandbox-502", ServerFailedError),
        ("sandbox-503", ProviderBusyError),
        ("sandbox-flaky", ServerFailedError),
        ("sandbox-hang", UnansweredError),
        ("sandbox-html", InvalidAnswerError),
        ("sandbox-half", InvalidAnswerError),
        ("sandbox-empty", InvalidAnswerError),
        ("sandbox-none", InvalidAnswerError),
        ("sandbox-two", InvalidAnswerError),
        ("sandbox-above", InvalidAnswerError),
        ("sandbox-words", InvalidAnswerError),
    ],
)
def test_sandbox_key_raises_its_error(
    openai: Any, key: str, kind: type[ProviderError], monkeypatch: pytest.MonkeyPatch
) -> None:
    if key == "sandbox-hang":
        monkeypatch.setattr(http, "SUBMIT_TIMEOUT", httpx.Timeout(0.3))
        monkeypatch.setattr(judging, "HANGING", 0.8)
    with pytest.raises(ProviderError) as caught:
        openai(key).moderate(*GUN)
    assert type(caught.value) is kind


@over_a_socket
@pytest.mark.parametrize("key", ["sandbox-429", "sandbox-flaky"])
def test_sandbox_accepts_the_third_try_after_two_refusals(openai: Any, key: str) -> None:
    for _ in range(2):
        with pytest.raises(ProviderBusyError):
            openai(key).moderate(*GUN)
    assert openai(key).moderate(*GUN).results[0].flagged


@over_a_socket
def test_sandbox_takes_texts_and_at_most_one_image(live_server: Any) -> None:
    url, headers = f"{live_server.url}/sandbox/openai/v1/moderations", {"Authorization": "Bearer k"}
    image = wire.ImagePart.of(*GUN).to_wire()
    text = {"type": "text", "text": "a harbour"}

    def ask(given: Any) -> httpx.Response:
        return httpx.post(url, json={"input": given}, headers=headers, trust_env=False)

    assert len(ask(["a", "b"]).json()["results"]) == 2
    both = ask([text, image]).json()["results"][0]
    assert both["category_applied_input_types"]["violence"] == ["image", "text"]
    assert both["category_applied_input_types"]["hate"] == ["text"]
    assert both["category_scores"]["hate"] > 0
    refused = ask([image, image])
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "too_many_images")
    for wrong in (7, [], [{"type": "video"}], None):
        assert ask(wrong).status_code == 400
    broken = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert ask([broken]).json()["error"]["message"] == "Invalid image."
    assert httpx.get(url, headers=headers, trust_env=False).status_code == 405
