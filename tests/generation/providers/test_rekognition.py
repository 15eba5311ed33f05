"""The client of Rekognition: documented and broken responses, and the sandbox over a socket."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.session
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from PIL import Image

from generation.providers import http
from generation.providers import rekognition as module
from generation.providers.base import (
    InvalidAnswerError,
    ProviderBusyError,
    ProviderError,
    ProviderMisconfiguredError,
    ProviderRejectedError,
    ServerFailedError,
    UnansweredError,
)
from generation.providers.rekognition import Rekognition
from generation.sandbox import judging, marker
from generation.sandbox import rekognition as sandbox
from generation.sandbox.cards import CARDS
from generation.wire import rekognition as wire

PAYLOADS = Path(__file__).parent / "payloads" / "rekognition"
SECRET, TOKEN = "secret-access-canary", "session-token-canary"


def provider(handler: Any) -> Rekognition:
    made = Rekognition(
        access_key_id="AKIDEXAMPLE",
        secret_access_key=SECRET,
        session_token=TOKEN,
        region="eu-west-1",
        base_url="https://rekognition.test",
        label="Rekognition",
    )
    made.use_transport(httpx.MockTransport(handler))
    return made


def answering(name: str) -> Rekognition:
    saved = json.loads((PAYLOADS / f"{name}.json").read_text())
    return provider(
        lambda request: httpx.Response(
            saved["status"], json=saved["body"], headers=saved["headers"]
        )
    )


def saying(content: Any, status: int = 200) -> Rekognition:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return provider(lambda request: httpx.Response(status, content=body))


def error_of(made: Rekognition) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        made.detect(b"image")
    assert str(caught.value).endswith(".")
    assert SECRET not in str(caught.value)
    assert TOKEN not in str(caught.value)
    return caught.value


# --- As documented ---
def test_signed_request_has_the_image_in_base64_and_a_low_limit() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"ModerationLabels": [], "ModerationModelVersion": "7.0"})

    provider(handler).detect(b"image")
    (request,) = seen
    assert str(request.url) == "https://rekognition.test/"
    assert json.loads(request.content) == {"Image": {"Bytes": "aW1hZ2U="}, "MinConfidence": 20.0}
    assert request.headers["content-type"] == "application/x-amz-json-1.1"
    assert request.headers["x-amz-target"] == "RekognitionService.DetectModerationLabels"
    assert request.headers["x-amz-security-token"] == TOKEN
    credential = f"Credential=AKIDEXAMPLE/{datetime.now(UTC):%Y%m}"
    assert credential in request.headers["authorization"]
    assert "/eu-west-1/rekognition/aws4_request" in request.headers["authorization"]


def test_documented_reply_is_read() -> None:
    reply = answering("reply").detect(b"image")
    assert reply.ModerationModelVersion == "7.0"
    first = reply.ModerationLabels[0]
    assert (first.Name, first.ParentName, first.Confidence, first.TaxonomyLevel) == (
        "Weapons",
        "Violence",
        98.1424,
        2,
    )
    assert answering("reply_clean").detect(b"image").ModerationLabels == []
    assert answering("reply_illustrated").detect(b"image").ContentTypes[0].Name == "Illustrated"
    assert answering("reply_version_6").detect(b"image").ModerationModelVersion == "6.1"


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        ("error_access_denied", ProviderMisconfiguredError, "no permission"),
        ("error_unrecognized_client", ProviderMisconfiguredError, "AWS_ACCESS_KEY_ID"),
        ("error_invalid_signature", ProviderMisconfiguredError, "AWS_SECRET_ACCESS_KEY"),
        ("error_signature_expired", ProviderMisconfiguredError, "clock"),
        ("error_expired_token", ProviderMisconfiguredError, "AWS_SESSION_TOKEN has expired"),
        ("error_image_too_large", ProviderRejectedError, "too large"),
        ("error_invalid_image_format", ProviderRejectedError, "format"),
        ("error_invalid_parameter", ProviderRejectedError, "parameter"),
        ("error_provisioned_throughput", ProviderBusyError, "limit of calls per second"),
        ("error_throttling_400", ProviderBusyError, "limit of calls per second"),
        ("error_throttling_500", ProviderBusyError, "limit of calls per second"),
        ("error_resource_not_ready", ProviderBusyError, "busy"),
        ("error_internal", ServerFailedError, "Internal server error"),
        ("error_unavailable", ProviderBusyError, "Service is unavailable"),
    ],
)
def test_each_documented_error_response_raises_its_own_error(
    name: str, kind: type[ProviderError], sentence: str
) -> None:
    found = error_of(answering(name))
    assert type(found) is kind
    assert sentence in str(found)
    code = json.loads((PAYLOADS / f"{name}.json").read_text())["body"]["__type"]
    assert found.reason == code.rpartition("#")[2]
    if isinstance(found, ProviderBusyError):
        assert found.limited == ("throughput" in name or "throttling" in name)


def test_error_code_is_read_from_the_header_of_a_response_without_body() -> None:
    made = provider(
        lambda request: httpx.Response(
            400, headers={"x-amzn-ErrorType": "ThrottlingException:http://internal/"}
        )
    )
    found = error_of(made)
    assert isinstance(found, ProviderBusyError)
    assert (found.reason, found.limited) == ("ThrottlingException", True)


def test_quoted_secrets_are_removed_from_messages() -> None:
    found = error_of(saying({"__type": "X", "message": f"no {SECRET} {TOKEN}"}, 400))
    assert "no [key] [token]" in str(found)


# --- Not as documented ---
def label(**changes: Any) -> dict[str, Any]:
    made = {"Name": "Weapons", "ParentName": "Violence", "Confidence": 90.5, "TaxonomyLevel": 2}
    return {name: value for name, value in {**made, **changes}.items() if value is not ...}


def reply(*labels: Any, **changes: Any) -> dict[str, Any]:
    made = {"ModerationLabels": list(labels), "ModerationModelVersion": "7.0", **changes}
    return {name: value for name, value in made.items() if value is not ...}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b'{"ModerationLab',
        b"[]",
        b"null",
        {},
        reply(ModerationLabels=...),
        reply(ModerationLabels=None),
        reply(ModerationLabels={}),
        reply(ModerationModelVersion=...),
        reply(ModerationModelVersion=""),
        reply(ModerationModelVersion=7),
        reply(ContentTypes=[{"Name": "Illustrated"}]),
        reply(ContentTypes=[{"Name": "Illustrated", "Confidence": 101}]),
        reply(None),
        reply("Weapons"),
        reply(label(Confidence=...)),
        reply(label(Confidence=None)),
        reply(label(Confidence="90")),
        reply(label(Confidence=True)),
        reply(label(Confidence=0)),
        reply(label(Confidence=0.0)),
        reply(label(Confidence=19.99)),
        reply(label(Confidence=-1)),
        reply(label(Confidence=100.01)),
        b'{"ModerationModelVersion": "7.0", "ModerationLabels": [{"Name": "Weapons", "ParentName":'
        b' "Violence", "Confidence": NaN}]}',
        b'{"ModerationModelVersion": "7.0", "ModerationLabels": [{"Name": "Weapons", "ParentName":'
        b' "Violence", "Confidence": 1e999}]}',
        reply(label(Name=...)),
        reply(label(Name="")),
        reply(label(Name="x" * 201)),
        reply(label(ParentName=...)),
        reply(label(TaxonomyLevel=0)),
        reply(label(TaxonomyLevel=4)),
        reply(label(), label(Confidence=95)),
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


def test_check_passes_if_the_service_refuses_what_is_no_image() -> None:
    answering("error_invalid_image_format").check()
    for name in ("error_access_denied", "error_invalid_signature", "error_image_too_large"):
        with pytest.raises(ProviderRejectedError):
            answering(name).check()
    with pytest.raises(ProviderMisconfiguredError, match="does not answer like"):
        answering("reply_clean").check()


# --- Label names ---
def test_model_7_has_52_names() -> None:
    names = [name for name, *_ in wire.iter_labels()]
    assert len(names) == len(set(names)) == 52
    assert wire.find_parents("Bare Back") == (
        "Non-Explicit Nudity",
        "Non-Explicit Nudity of Intimate parts and Kissing",
    )


def test_sandbox_has_a_name_for_each_of_its_categories() -> None:
    assert set(sandbox.NAMES) == {card.slug for card in CARDS}
    assert set(sandbox.NAMES.values()) <= {name for name, *_ in wire.iter_labels()}


# --- Over a socket ---
def shown(*labels: tuple[str, int], kind: str = "PNG") -> bytes:
    """Return a sandbox image whose marker names these categories."""
    picture = Image.new("RGB", (256, 192), (90, 120, 150))
    marker.draw_marker(picture, labels)
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


GUN = shown(("violence.weapons", 80))
over_a_socket = pytest.mark.django_db(transaction=True)


@pytest.fixture
def rekognition(live_server: Any) -> Any:
    def make(key: str = "sandbox", **rest: str) -> Rekognition:
        options = {
            "access_key_id": key,
            "secret_access_key": "sandbox",
            "session_token": "",
            "region": "us-east-1",
            "base_url": f"{live_server.url}/sandbox/rekognition",
            "label": "Rekognition (sandbox)",
        }
        return Rekognition(**{**options, **rest})

    return make


@over_a_socket
def test_sandbox_returns_labels_with_their_ancestors(rekognition: Any) -> None:
    found = rekognition(session_token="anything at all").detect(
        shown(("explicit.nudity", 80), ("gambling", 20), ("alcohol", 19), kind="JPEG")
    )
    assert [
        (made.Name, made.ParentName, made.Confidence, made.TaxonomyLevel)
        for made in found.ModerationLabels
    ] == [
        ("Exposed Female Nipple", "Explicit Nudity", 80, 3),
        ("Explicit Nudity", "Explicit", 80, 2),
        ("Explicit", "", 80, 1),
        ("Gambling", "", 20, 1),
    ]
    unmarked = io.BytesIO()
    Image.new("RGB", (300, 200), "green").save(unmarked, "JPEG")
    assert rekognition().detect(unmarked.getvalue()).ModerationLabels == []
    rekognition().check()


@over_a_socket
def test_official_client_is_accepted_and_reads_labels_and_errors(live_server: Any) -> None:
    def make(**changes: str) -> Any:
        session = botocore.session.Session()
        return session.create_client(
            "rekognition",
            region_name="eu-central-1",
            endpoint_url=f"{live_server.url}/sandbox/rekognition/",
            aws_access_key_id=changes.get("key", "sandbox"),
            aws_secret_access_key=changes.get("secret", "sandbox"),
            config=Config(retries={"max_attempts": 0, "mode": "standard"}, proxies={}),
        )

    found = make().detect_moderation_labels(Image={"Bytes": GUN}, MinConfidence=30)
    assert [made["Name"] for made in found["ModerationLabels"]] == ["Weapons", "Violence"]
    assert found["ModerationModelVersion"] == "7.0"
    for client, code in (
        (make(secret="wrong"), "InvalidSignatureException"),
        (make(key="invalid"), "UnrecognizedClientException"),
        (make(key="sandbox-denied"), "AccessDeniedException"),
        (make(key="sandbox-throttled-always"), "ThrottlingException"),
        (make(key="sandbox-500"), "InternalServerError"),
    ):
        with pytest.raises(ClientError) as caught:
            client.detect_moderation_labels(Image={"Bytes": GUN})
        assert caught.value.response["Error"]["Code"] == code
    with pytest.raises(ClientError) as caught:
        make().detect_moderation_labels(Image={"Bytes": b"no image"})
    assert caught.value.response["Error"]["Code"] == "InvalidImageFormatException"
    with pytest.raises(ClientError) as caught:
        make().list_collections()
    assert caught.value.response["Error"]["Code"] == "UnknownOperationException"


@over_a_socket
@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("invalid", ProviderMisconfiguredError),
        ("sandbox-denied", ProviderMisconfiguredError),
        ("sandbox-expired", ProviderMisconfiguredError),
        ("sandbox-redirect", ProviderMisconfiguredError),
        ("sandbox-format", ProviderRejectedError),
        ("sandbox-too-large", ProviderRejectedError),
        ("sandbox-parameter", ProviderRejectedError),
        ("sandbox-throttled", ProviderBusyError),
        ("sandbox-throttled-500", ProviderBusyError),
        ("sandbox-throttled-always", ProviderBusyError),
        ("sandbox-500", ServerFailedError),
        ("sandbox-502", ServerFailedError),
        ("sandbox-503", ProviderBusyError),
        ("sandbox-flaky", ServerFailedError),
        ("sandbox-hang", UnansweredError),
        ("sandbox-html", InvalidAnswerError),
        ("sandbox-half", InvalidAnswerError),
        ("sandbox-empty", InvalidAnswerError),
        ("sandbox-nulls", InvalidAnswerError),
        ("sandbox-unversioned", InvalidAnswerError),
        ("sandbox-zeros", InvalidAnswerError),
        ("sandbox-above", InvalidAnswerError),
        ("sandbox-words", InvalidAnswerError),
        ("sandbox-nameless", InvalidAnswerError),
        ("sandbox-twice", InvalidAnswerError),
    ],
)
def test_sandbox_key_raises_its_error(
    rekognition: Any, key: str, kind: type[ProviderError], monkeypatch: pytest.MonkeyPatch
) -> None:
    if key == "sandbox-hang":
        monkeypatch.setattr(http, "SUBMIT_TIMEOUT", httpx.Timeout(0.3))
        monkeypatch.setattr(judging, "HANGING", 0.8)
    with pytest.raises(ProviderError) as caught:
        rekognition(key).detect(GUN)
    assert type(caught.value) is kind


@over_a_socket
@pytest.mark.parametrize("key", ["sandbox-throttled", "sandbox-throttled-500", "sandbox-flaky"])
def test_sandbox_accepts_the_third_try_after_two_refusals(rekognition: Any, key: str) -> None:
    for _ in range(2):
        with pytest.raises(ProviderBusyError):
            rekognition(key).detect(GUN)
    assert rekognition(key).detect(GUN).ModerationLabels


@over_a_socket
def test_sandbox_keys_without_error_return_labels(
    rekognition: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "SLOW", 0.2)
    for key in ("sandbox-slow", "sandbox-unknown", "sandbox-unknown-child", "sandbox-illustrated"):
        assert rekognition(key).detect(GUN).ModerationLabels[0].Name == "Weapons"
    assert rekognition("sandbox-version-8").detect(GUN).ModerationModelVersion == "8.0"


@over_a_socket
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"secret_access_key": "wrong"}, "AWS_SECRET_ACCESS_KEY"),
        ({"access_key_id": ""}, "signature is incomplete"),
    ],
)
def test_sandbox_refuses_a_wrong_signature(
    rekognition: Any, change: dict[str, str], sentence: str
) -> None:
    with pytest.raises(ProviderMisconfiguredError, match=sentence):
        rekognition(**change).detect(GUN)


@over_a_socket
def test_sandbox_refuses_a_signature_of_another_time(
    rekognition: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) - timedelta(minutes=6)

    monkeypatch.setattr(module, "datetime", Clock)
    with pytest.raises(ProviderMisconfiguredError, match="Signature expired"):
        rekognition().detect(GUN)


@over_a_socket
def test_sandbox_accepts_5_mb_of_jpeg_or_png_and_refuses_more_and_webp(rekognition: Any) -> None:
    padded = GUN + b"\0" * (wire.BYTES_MAX - len(GUN))
    assert rekognition().detect(padded).ModerationLabels
    with pytest.raises(ProviderRejectedError, match="too large"):
        rekognition().detect(padded + b"\0")
    with pytest.raises(ProviderRejectedError, match="format"):
        rekognition().detect(shown(("violence", 90), kind="WEBP"))


@over_a_socket
def test_sandbox_needs_post_a_signature_and_the_switch(live_server: Any, settings: Any) -> None:
    url = f"{live_server.url}/sandbox/rekognition/"
    unsigned = httpx.post(url, content=b"{}", trust_env=False)
    assert (unsigned.status_code, unsigned.json()["__type"]) == (
        400,
        "MissingAuthenticationTokenException",
    )
    assert httpx.get(url, trust_env=False).status_code == 400
    settings.SANDBOX = False
    assert httpx.post(url, content=b"{}", trust_env=False).status_code == 404
