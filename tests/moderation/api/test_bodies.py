"""Invalid API requests: a 4xx in the format of Novita or Scenario, and never a 500."""

from __future__ import annotations

import http.client
import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from django.core.signing import Signer
from django.test import Client

from generation.models import ApiCall, GenerationRequest, ImagesOfDay
from generation.services import model_catalog
from moderation.models import Delivery
from tests.moderation.api.calls import make_key
from tests.moderation.api.novita_bodies import bodies, make_body, queries
from tests.moderation.api.test_novita import RESULT, SUBMIT, body, submit

pytestmark = pytest.mark.django_db
CASES, QUERIES = list(bodies()), list(queries())
REASONS = {
    400: {"INVALID_REQUEST_BODY", "INVALID_CUSTOM_OUTPUT_PATH"},
    404: {"TASK_NOT_FOUND"},
    413: {"INVALID_REQUEST_BODY"},
}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "PROPFIND")


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(model_catalog, "fetch_page", lambda question: model_catalog.CatalogPage())
    return make_key("generate", "read", calls_per_minute=1_000_000)


def describe_problem(answer: Any, status: int, reasons: set[str]) -> str:
    """Return the difference from a well-formed error response, or "" if there is none."""
    if answer.status_code != status:
        return f"{answer.status_code} instead of {status}: {answer.content[:120]!r}"
    if answer["Content-Type"] != "application/json":
        return f"it is {answer['Content-Type']}"
    content = answer.json()
    if set(content) != {"code", "reason", "message", "metadata"}:
        return f"its body has {set(content)}"
    if content["code"] != status or content["reason"] not in reasons:
        return f"it says {content}"
    if not set(content["metadata"]) <= {"fields", "detail"}:
        return f"its metadata is {content['metadata']}"
    sentence = content["metadata"].get("detail", content["message"])
    if not sentence.endswith(".") or len(content["message"]) > 500:
        return f"its message is {content['message'][:600]!r}"
    return ""


def test_invalid_bodies_return_4xx_in_format_and_store_nothing(key: str) -> None:
    wrong = [
        (name, found)
        for name, raw, status in CASES
        if (found := describe_problem(submit(key, raw), status, REASONS[status]))
    ]

    assert wrong == []
    assert len(CASES) > 350
    assert not GenerationRequest.objects.exists()
    assert not Delivery.objects.exists()
    assert not ImagesOfDay.objects.exists()
    assert ApiCall.objects.count() == len(CASES)


def test_valid_and_largest_bodies_return_200(key: str) -> None:
    assert submit(key, make_body("request.seed", -1)).status_code == 200
    largest = json.dumps(body()).encode().ljust(1024 * 1024)
    assert submit(key, largest).status_code == 200


def test_invalid_queries_return_4xx_in_format(key: str) -> None:
    wrong = []
    for path, query, status in QUERIES:
        answer = Client().get(path, query, headers={"authorization": key})
        if path == "/v1/assets":
            shaped = answer.status_code == status and set(answer.json()) == {"error", "message"}
            found = "" if shaped else f"{answer.status_code}: {answer.content[:100]!r}"
        else:
            found = describe_problem(answer, status, REASONS[status])
        if found:
            wrong.append((path, str(query)[:80], found))

    assert wrong == []
    assert len(QUERIES) > 120


def test_pagination_token_with_foreign_salt_returns_400(key: str) -> None:
    for salt in ("moderation.api.signed_urls", "other"):
        forged = urlsafe_b64encode(
            Signer(salt=salt).sign('["2026-01-01T00:00:00+00:00", 1, true]').encode()
        ).decode()
        answer = Client().get(
            "/v1/assets", {"paginationToken": forged}, headers={"authorization": key}
        )
        assert (answer.status_code, set(answer.json())) == (400, {"error", "message"})


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        "x",
        "",
        "application/json; charset=utf-16",
        "application/json; charset=nothing",
        "text/xml",
        "a" * 5000,
    ],
)
def test_content_type_header_does_not_affect_parsing(key: str, content_type: str) -> None:
    def send(content: bytes) -> Any:
        return Client().generic(
            "POST", SUBMIT, content, content_type=content_type, headers={"authorization": key}
        )

    assert send(json.dumps(body()).encode()).status_code == 200
    for raw in (
        b"request=x",
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n',
        b"\xff\xfe{}",
    ):
        assert describe_problem(send(raw), 400, REASONS[400]) == ""


@pytest.mark.parametrize(
    ("path", "allowed"), [(SUBMIT, "POST"), (RESULT, "GET"), ("/v3/model", "GET")]
)
def test_wrong_methods_return_405_with_allowed_method(key: str, path: str, allowed: str) -> None:
    for prefix in ("", "/"):
        for method in METHODS:
            if method == allowed:
                continue
            answer = Client(enforce_csrf_checks=True).generic(
                method, path, PATH_INFO=prefix + path, headers={"authorization": key}
            )
            if method == "HEAD":
                assert (answer.status_code, answer["Allow"]) == (405, allowed)
                continue
            assert describe_problem(answer, 405, {"METHOD_NOT_ALLOWED"}) == "", method
            assert answer["Allow"] == allowed


UNKNOWN = [
    "/v3/",
    "/v3/x",
    "/v3/async",
    "/v3/async/",
    f"{SUBMIT}/",
    f"{RESULT}/",
    "/v3/model/",
    "/v3/models",
    "/v3//model",
    "/v3/async/txt2img/x",
    "/v3/async/img2img",
    "/v3/ASYNC/txt2img",
    "/v3/%00",
    "/v3/a%0Ab",
    "/v3/%2e%2e/admin/",
    "/v3/é",
    "/v3/images/",
    "/v3/images/x",
    "/v3/images/a/b.png",
    "/v3/images/.png",
    "/v3/;x",
    "/v3/" + "a" * 2000,
    "/v3/%ff%fe",
    "/v3/async/txt2img%20",
    "/v3/async/txt2img%00",
    "/v3/async/txt2img.json",
    "/v3/.env",
    "/v3/<script>",
]


@pytest.mark.parametrize("sent", ["a key", "nothing", "a wrong key"])
def test_unknown_urls_return_404_in_format(key: str, sent: str) -> None:
    headers = {
        "a key": {"authorization": key},
        "nothing": {},
        "a wrong key": {"authorization": "Bearer x"},
    }[sent]
    wrong = []
    for path in UNKNOWN:
        for method in ("GET", "POST", "DELETE"):
            answer = Client(enforce_csrf_checks=True).generic(method, path, b"{}", headers=headers)
            if found := describe_problem(answer, 404, {"API_NOT_FOUND"}):
                wrong.append((method, path[:60], found))

    assert wrong == []


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        ({}, 400, "MISSING_API_KEY"),
        ({"authorization": ""}, 400, "MISSING_API_KEY"),
        ({"authorization": "Bearer "}, 400, "MISSING_API_KEY"),
        ({"authorization": "Basic !!!"}, 400, "MISSING_API_KEY"),
        ({"authorization": "Basic /////w=="}, 400, "MISSING_API_KEY"),
        ({"authorization": "Bearer x\0y"}, 403, "INVALID_API_KEY"),
        ({"authorization": "Bearer é"}, 403, "INVALID_API_KEY"),
        ({"authorization": "Digest x"}, 403, "INVALID_API_KEY"),
        ({"x-api-key": "x" * 100_000}, 403, "INVALID_API_KEY"),
    ],
)
def test_malformed_keys_return_documented_status(
    key: str, headers: dict[str, str], status: int, reason: str
) -> None:
    for answer in (
        Client().get(RESULT, headers=headers),
        Client().generic(
            "POST",
            SUBMIT,
            json.dumps(body()).encode(),
            content_type="application/json",
            headers=headers,
        ),
        Client().get("/v3/model", {"key": key, "api_key": key}, headers=headers),
    ):
        assert describe_problem(answer, status, {reason}) == ""
    assert not GenerationRequest.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_wrong_content_lengths_over_socket_return_400_or_413(live_server: Any, key: str) -> None:
    """Truncated and missing bodies need a socket: Django's test client cannot send them."""
    host = live_server.url.removeprefix("http://")
    good = json.dumps(body()).encode()
    none = {400, 413}
    for length, sent, statuses in (
        ("0", b"", {400}),
        ("", b"", {400}),
        ("-1", good, none),
        ("x", good, none),
        ("1e9", good, none),
        (str(2 * 1024 * 1024), good, {413}),
        ("9" * 30, good, none),
        (str(len(good) - 5), good, {400}),
    ):
        connection = http.client.HTTPConnection(host, timeout=120)
        connection.putrequest("POST", SUBMIT)
        connection.putheader("Authorization", f"Bearer {key}")
        connection.putheader("Connection", "close")
        if length:
            connection.putheader("Content-Length", length)
        connection.endheaders(sent)
        answer = connection.getresponse()
        assert answer.status in statuses, length
        assert set(json.loads(answer.read())) == {"code", "reason", "message", "metadata"}
        connection.close()
    assert not GenerationRequest.objects.exists()
