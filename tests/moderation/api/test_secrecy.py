"""Secrecy of images that are not approved: no URL, key or request header returns them."""

from __future__ import annotations

import base64
import hashlib
import http.client
import itertools
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from generation.models import ApiKey, Asset, GenerationRequest, Scope, Source
from moderation.api import signed_urls
from moderation.models import Decision, Review, Verdict
from moderation.services import decisions as decision_service
from tests.conftest import picture
from tests.moderation.api.calls import make_key

# Closing a file response closes the database connection.
pytestmark = pytest.mark.django_db(transaction=True)
PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")


@dataclass
class HiddenAssets:
    """Assets that must stay hidden, and the API key that requested them."""

    key: str
    assets: dict[str, Asset] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)

    def list_fragments(self) -> list[bytes]:
        """Return byte sequences that would reveal an asset.

        These are fragments of its files, raw and in base64, and its preview.
        """
        found = []
        for asset in self.assets.values():
            for file in (asset.rendition, asset.thumbnail):
                with file.open("rb") as opened:
                    content = opened.read()
                found += [content[40:72], content[-64:-16], base64.b64encode(content[30:75])[4:-4]]
            found.append(asset.preview.encode())
        return found


def approve(review: Review, user: User) -> Decision:
    decision_service.claim(review=review, user=user)
    return decision_service.decide(review=review, user=user, verdict=Verdict.APPROVE)


@pytest.fixture
def hidden_assets(
    make_review: Callable[..., Review], make_request: Callable[..., Any], senior: User
) -> HiddenAssets:
    row, key = ApiKey.make(
        name="shop", scopes=["generate", "classify", "read"], calls_per_minute=1_000_000
    )
    found = HiddenAssets(key)
    request = make_request(
        api_key=row, image_num=4, status="succeeded", finished_at="2026-01-01T00:00Z"
    )
    for position, name in enumerate(("undecided", "rejected", "reversed", "escalated")):
        review = make_review(source=Source.TXT2IMG, request=request, position=position)
        found.assets[name] = review.asset
        if name == "undecided":
            continue
        decision_service.claim(review=review, user=senior)
        verdict = {"rejected": Verdict.REJECT, "escalated": Verdict.ESCALATE}.get(
            name, Verdict.APPROVE
        )
        categories = ["explicit.nudity"] if verdict == Verdict.REJECT else []
        decision = decision_service.decide(
            review=review, user=senior, verdict=verdict, categories=categories
        )
        found.decisions.append(decision)
        if name == "reversed":
            decision_service.reverse(decision=decision, user=senior)
    return found


def sign(asset: Asset) -> str:
    return signed_urls._signer.sign(asset.uuid.hex)


def get_image_path(asset: Asset) -> str:
    return f"/v3/images/{sign(asset)}.{asset.image_type}"


def read(answer: Any) -> bytes:
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    answer.close()
    return bytes(content)


# --- Every URL of the project ---
def list_routes(resolver: URLResolver | None = None, prefix: str = "/") -> Iterator[str]:
    for entry in (resolver or get_resolver()).url_patterns:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLPattern):
            yield path
        else:
            yield from list_routes(entry, path)


def expand_route(route: str, hidden_assets: HiddenAssets) -> Iterator[str]:
    """Yield the route with all combinations of identifiers of the hidden images."""
    path = re.sub(r"\[.*$|\^|\\Z|\$|\(\?P<url>.*$", "", route)
    names = PARAMETER.findall(path)
    every = list(hidden_assets.assets.values())
    uuids = [
        *(asset.uuid for asset in every),
        *(asset.review.uuid for asset in every),
        every[0].request.uuid,
    ]
    uuids += [decision.uuid for decision in hidden_assets.decisions]
    short = [asset.pk for asset in every]
    texts = [*(asset.uuid for asset in every), *(asset.uuid.hex for asset in every)]
    candidates: dict[str, list[Any]] = {
        "uuid": uuids,
        "task_id": uuids,
        "token": [sign(asset) for asset in every],
        "extension": ["png", "webp"],
        "position": [0, 1],
        "asset_id": [*texts, *(asset.sha256 for asset in every)],
        "object_id": short,
        "content_type_id": [1],
        "app_label": ["generation", "moderation"],
        "slug": ["waiting", "escalated"],
    }
    for values in itertools.product(
        *(candidates.get(name, ["x", every[0].uuid.hex]) for name in names)
    ):
        text = iter(values)
        yield PARAMETER.sub(lambda match, text=text: str(next(text)), path)


def test_no_url_returns_a_hidden_image_with_or_without_a_key(
    hidden_assets: HiddenAssets, settings: Any
) -> None:
    settings.CLASSIFIERS = []
    stranger = User.objects.create_user("stranger")
    keys = {
        "nobody": "",
        "its own": hidden_assets.key,
        "a stranger's": make_key(*Scope.values, owner=stranger, calls_per_minute=1_000_000),
        **{scope: make_key(scope, calls_per_minute=1_000_000) for scope in Scope.values},
    }
    fragments, client, tried, wrong = (
        hidden_assets.list_fragments(),
        Client(raise_request_exception=False),
        0,
        [],
    )
    for route in dict.fromkeys(list_routes()):
        is_admin = route.startswith("/admin/")
        for path in expand_route(route, hidden_assets):
            for name, key in list(keys.items())[: 2 if is_admin else None]:
                answer = client.get(
                    path,
                    {"task_id": str(hidden_assets.assets["undecided"].request.uuid)},
                    headers=_header(key),
                )
                tried += 1
                if problem := _find_leak(answer, fragments):
                    wrong.append((name, path, answer.status_code, problem))

    assert wrong == []
    assert tried > 1000


def _header(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}", "x-api-key": key} if key else {}


def _find_leak(answer: Any, fragments: list[bytes]) -> str:
    content = read(answer)
    if answer.status_code == 500:
        return "it fails"
    if answer.get("Content-Type", "").startswith("image/"):
        return "an image"
    if any(piece in content for piece in fragments):
        return "a piece of an image"
    return "a signed address" if re.search(rb"/v3/images/\w{32}:", content) else ""


def test_leak_check_finds_approved_images(
    hidden_assets: HiddenAssets, make_review: Any, senior: User, client_of: Any
) -> None:
    review = make_review(
        source=Source.TXT2IMG, request=hidden_assets.assets["undecided"].request, position=4
    )
    approve(review, senior)
    found = HiddenAssets(hidden_assets.key, {"approved": review.asset})

    assert _find_leak(Client().get(get_image_path(review.asset)), []) == "an image"
    listed = Client().get("/v1/assets", headers=_header(hidden_assets.key))
    assert _find_leak(listed, []) == "a signed address"
    person = client_of(senior)
    for name in ("file", "thumbnail"):
        path = f"/assets/{review.asset.uuid}/{name}"
        assert _find_leak(person.get(path), []) == "an image"
        content = read(person.get(path))
        assert sum(piece in content for piece in found.list_fragments()) >= 2


def test_lists_and_results_have_no_urls_of_hidden_images(hidden_assets: HiddenAssets) -> None:
    rows = Client().get("/v1/assets", headers=_header(hidden_assets.key)).json()["assets"]
    task = hidden_assets.assets["undecided"].request.uuid
    result = (
        Client()
        .get("/v3/async/task-result", {"task_id": task}, headers=_header(hidden_assets.key))
        .json()
    )

    assert len(rows) == 4
    assert {row["url"] for row in rows} == {""}
    assert result["task"]["status"] == "TASK_STATUS_PROCESSING"
    assert result["images"] == []


# --- The image URL with manipulated requests ---
TRICKS: list[dict[str, str]] = [
    {},
    {"Range": "bytes=0-10"},
    {"Range": "bytes=-10"},
    {"If-None-Match": "*"},
    {"If-None-Match": '"x"'},
    {"If-Match": "*"},
    {"If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"},
    {"If-Range": "*", "Range": "bytes=0-"},
    {"If-Unmodified-Since": "Mon, 01 Jan 2035 00:00:00 GMT"},
    {"X-HTTP-Method-Override": "GET"},
    {"X-Original-URL": "/healthz"},
    {"Accept": "image/*"},
    {"Accept-Encoding": "gzip, br"},
]


def test_no_header_or_method_returns_a_hidden_image_over_a_socket(
    live_server: Any, hidden_assets: HiddenAssets
) -> None:
    fragments = hidden_assets.list_fragments()
    connection = http.client.HTTPConnection(live_server.url.removeprefix("http://"), timeout=120)
    for asset in (hidden_assets.assets["undecided"], hidden_assets.assets["reversed"]):
        refused = set()
        for method in ("GET", "HEAD"):
            for headers in TRICKS:
                connection.request(method, get_image_path(asset), headers=headers)
                answer = connection.getresponse()
                content = answer.read()
                assert answer.status == 403, (method, headers)
                assert not any(piece in content for piece in fragments)
                assert answer.headers["Content-Type"] == "application/xml"
                assert {"ETag", "Last-Modified", "Accept-Ranges", "Content-Range"}.isdisjoint(
                    answer.headers
                )
                assert "no-store" in answer.headers["Cache-Control"]
                refused.add(answer.headers["Content-Length"])
        assert len(refused) == 1, "the length must not depend on the image"
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            connection.request(method, get_image_path(asset), headers={"Content-Length": "0"})
            answer = connection.getresponse()
            assert (
                answer.status,
                answer.headers["Allow"],
                b"MethodNotAllowed" in answer.read(),
            ) == (
                405,
                "GET, HEAD",
                True,
            )
    connection.close()


def test_approved_image_is_served_until_its_reversal(
    live_server: Any, make_review: Any, senior: User
) -> None:
    review = make_review()
    path = get_image_path(review.asset)
    connection = http.client.HTTPConnection(live_server.url.removeprefix("http://"), timeout=120)

    def status(method: str = "GET") -> tuple[int, str]:
        connection.request(method, path)
        answer = connection.getresponse()
        content = answer.read()
        assert method == "GET" or content == b""
        return answer.status, hashlib.sha256(content).hexdigest()

    assert status()[0] == 403
    decision = approve(review, senior)
    assert status() == (200, review.asset.original_sha256)
    assert status("HEAD")[0] == 200
    decision_service.reverse(decision=decision, user=senior)
    assert status()[0] == status("HEAD")[0] == 403
    approve(review, senior)
    assert status()[0] == 200, "the URL is valid for an hour and works again"
    connection.close()


@pytest.fixture
def approved(make_review: Callable[..., Review], senior: User) -> Asset:
    review = make_review()
    approve(review, senior)
    return review.asset


def test_tampered_image_url_returns_403(approved: Asset, hidden_assets: HiddenAssets) -> None:
    good, other = sign(approved), hidden_assets.assets["undecided"]
    name, moment, signature = good.split(":")
    tampered = {
        "another image": f"{other.uuid.hex}:{moment}:{signature}",
        "another moment": f"{name}:{moment[:-1]}{'a' if moment[-1] != 'a' else 'b'}:{signature}",
        "another signature": (
            f"{name}:{moment}:{signature[:-2]}{'aa' if signature[-2:] != 'aa' else 'bb'}"
        ),
        "no signature": f"{name}:{moment}:",
        "no moment": f"{name}:{signature}",
        "a bare id": name,
        "an id with dashes": str(approved.uuid),
        "in capitals": good.upper(),
        "cut": good[:-1],
        "longer": good + "A",
        "twice": f"{good}:{good}",
        "of another key's salt": re.sub(r"[^:]+$", "x" * 43, good),
        "with a space": good + "%20",
        "with a line end": good + "%0A",
        "with a NUL": good + "%00",
        "signed, but no id": signed_urls._signer.sign("x"),
        "signed, but nobody's": signed_urls._signer.sign("0" * 32),
        "signed, with dots": signed_urls._signer.sign(".."),
    }
    answers = {what: Client().get(f"/v3/images/{text}.png") for what, text in tampered.items()}

    assert {
        what: answer.status_code for what, answer in answers.items() if answer.status_code != 403
    } == {}
    assert all(b"<Code>AccessDenied</Code>" in answer.content for answer in answers.values())


@pytest.mark.parametrize("extension", ["webp", "jpeg", "jpg", "PNG", "svg", "html", "gif", "png-x"])
def test_image_url_with_wrong_extension_returns_403(approved: Asset, extension: str) -> None:
    assert approved.image_type == "png"
    assert Client().get(f"/v3/images/{sign(approved)}.{extension}").status_code == 403


@pytest.mark.parametrize(("age", "status"), [(3590, 200), (3610, 403), (86400, 403), (-60, 200)])
def test_image_url_expires_after_one_hour(
    approved: Asset, monkeypatch: pytest.MonkeyPatch, age: int, status: int
) -> None:
    path = get_image_path(approved)
    now = time.time()
    monkeypatch.setattr("django.core.signing.time.time", lambda: now + age)
    answer = Client().get(path)
    content = read(answer)

    assert answer.status_code == status
    if status == 403:
        assert b"Request has expired" in content
    fresh = Client().get(get_image_path(approved))
    assert (fresh.status_code, bool(read(fresh))) == (200, True)


def test_missing_image_file_returns_404(approved: Asset) -> None:
    Asset.objects.filter(pk=approved.pk).update(
        rendition="renditions/00/gone.png", original="originals/00/gone.png"
    )

    answer = Client().get(get_image_path(approved))
    assert (answer.status_code, b"<Code>NoSuchKey</Code>" in answer.content) == (404, True)


def test_undecided_image_of_classification_call_returns_403(make_review: Any) -> None:
    asset = make_review(source=Source.API, content=picture(77), external_id="k:1").asset
    key = make_key(*Scope.values)

    row = Client().get(f"/v1/assets/{asset.uuid}", headers=_header(key)).json()["asset"]
    assert (row["url"], row["status"]) == ("", "pending")
    assert Client().get(get_image_path(asset)).status_code == 403
    assert not GenerationRequest.objects.exists()
