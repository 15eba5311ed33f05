"""An image that is not approved cannot be had: by no address, with no key, by no trick with the
right address.
"""

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
from moderation.services import decisions as desk
from tests.conftest import picture
from tests.moderation.api.calls import make_key

pytestmark = pytest.mark.django_db(
    transaction=True
)  # closing a file's answer closes the connection
PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")


@dataclass
class Hidden:
    """Assets that nobody may have, and the key of the program that ordered them."""

    key: str
    assets: dict[str, Asset] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)

    def pieces(self) -> list[bytes]:
        """What would give one of them away: pieces of its files, as they are and as text, and its
        smallest preview.
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
    desk.claim(review=review, user=user)
    return desk.decide(review=review, user=user, verdict=Verdict.APPROVE)


@pytest.fixture
def hidden(
    make_review: Callable[..., Review], make_request: Callable[..., Any], senior: User
) -> Hidden:
    row, key = ApiKey.make(
        name="shop", scopes=["generate", "classify", "read"], calls_per_minute=1_000_000
    )
    found = Hidden(key)
    request = make_request(
        api_key=row, image_num=4, status="succeeded", finished_at="2026-01-01T00:00Z"
    )
    for position, name in enumerate(("undecided", "rejected", "reversed", "escalated")):
        review = make_review(source=Source.TXT2IMG, request=request, position=position)
        found.assets[name] = review.asset
        if name == "undecided":
            continue
        desk.claim(review=review, user=senior)
        verdict = {"rejected": Verdict.REJECT, "escalated": Verdict.ESCALATE}.get(
            name, Verdict.APPROVE
        )
        categories = ["explicit.nudity"] if verdict == Verdict.REJECT else []
        decision = desk.decide(review=review, user=senior, verdict=verdict, categories=categories)
        found.decisions.append(decision)
        if name == "reversed":
            desk.reverse(decision=decision, user=senior)
    return found


def token(asset: Asset) -> str:
    return signed_urls._signer.sign(asset.uuid.hex)


def path_of(asset: Asset) -> str:
    return f"/v3/images/{token(asset)}.{asset.image_type}"


def read(answer: Any) -> bytes:
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    answer.close()
    return bytes(content)


# --- Every address of the project ---
def routes(resolver: URLResolver | None = None, prefix: str = "/") -> Iterator[str]:
    for entry in (resolver or get_resolver()).url_patterns:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLPattern):
            yield path
        else:
            yield from routes(entry, path)


def addresses(route: str, hidden: Hidden) -> Iterator[str]:
    """The route with everything in its places that names one of the images, in every combination
    that fits.
    """
    path = re.sub(r"\[.*$|\^|\\Z|\$|\(\?P<url>.*$", "", route)
    names = PARAMETER.findall(path)
    every = list(hidden.assets.values())
    uuids = [
        *(asset.uuid for asset in every),
        *(asset.review.uuid for asset in every),
        every[0].request.uuid,
    ]  # type: ignore[union-attr]
    uuids += [decision.uuid for decision in hidden.decisions]
    short = [asset.pk for asset in every]
    texts = [*(asset.uuid for asset in every), *(asset.uuid.hex for asset in every)]
    candidates: dict[str, list[Any]] = {
        "uuid": uuids,
        "task_id": uuids,
        "token": [token(asset) for asset in every],
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
        yield PARAMETER.sub(lambda match: str(next(text)), path)  # noqa: B023


def test_no_address_gives_an_image_to_who_holds_a_key_or_nothing(
    hidden: Hidden, settings: Any
) -> None:
    settings.CLASSIFIERS = []
    stranger = User.objects.create_user("stranger")
    keys = {
        "nobody": "",
        "its own": hidden.key,
        "a stranger's": make_key(*Scope.values, owner=stranger, calls_per_minute=1_000_000),
        **{scope: make_key(scope, calls_per_minute=1_000_000) for scope in Scope.values},
    }
    pieces, client, tried, wrong = hidden.pieces(), Client(raise_request_exception=False), 0, []
    for route in dict.fromkeys(routes()):
        is_admin = route.startswith("/admin/")
        for path in addresses(route, hidden):
            for name, key in list(keys.items())[: 2 if is_admin else None]:
                answer = client.get(
                    path,
                    {"task_id": str(hidden.assets["undecided"].request.uuid)},
                    headers=_header(key),
                )  # type: ignore[union-attr]
                tried += 1
                if problem := _problem(answer, pieces):
                    wrong.append((name, path, answer.status_code, problem))

    assert wrong == []
    assert tried > 1000


def _header(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}", "x-api-key": key} if key else {}


def _problem(answer: Any, pieces: list[bytes]) -> str:
    content = read(answer)
    if answer.status_code == 500:
        return "it fails"
    if answer.get("Content-Type", "").startswith("image/"):
        return "an image"
    if any(piece in content for piece in pieces):
        return "a piece of an image"
    return "a signed address" if re.search(rb"/v3/images/\w{32}:", content) else ""


def test_the_walk_would_notice(
    hidden: Hidden, make_review: Any, senior: User, client_of: Any
) -> None:
    review = make_review(
        source=Source.TXT2IMG, request=hidden.assets["undecided"].request, position=4
    )
    approve(review, senior)
    found = Hidden(hidden.key, {"approved": review.asset})

    assert _problem(Client().get(path_of(review.asset)), []) == "an image"
    listed = Client().get("/v1/assets", headers=_header(hidden.key))
    assert _problem(listed, []) == "a signed address"
    person = client_of(senior)
    for name in ("file", "thumbnail"):
        path = f"/assets/{review.asset.uuid}/{name}"
        assert _problem(person.get(path), []) == "an image"
        content = read(person.get(path))
        assert sum(piece in content for piece in found.pieces()) >= 2


def test_lists_and_results_hold_no_address_of_them(hidden: Hidden) -> None:
    rows = Client().get("/v1/assets", headers=_header(hidden.key)).json()["assets"]
    task = hidden.assets["undecided"].request.uuid  # type: ignore[union-attr]
    result = (
        Client().get("/v3/async/task-result", {"task_id": task}, headers=_header(hidden.key)).json()
    )

    assert len(rows) == 4
    assert {row["url"] for row in rows} == {""}
    assert result["task"]["status"] == "TASK_STATUS_PROCESSING"
    assert result["images"] == []


# --- The right address, and tricks with it ---
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


def test_no_header_and_no_method_gets_it_over_a_socket(live_server: Any, hidden: Hidden) -> None:
    pieces = hidden.pieces()
    connection = http.client.HTTPConnection(live_server.url.removeprefix("http://"), timeout=10)
    for asset in (hidden.assets["undecided"], hidden.assets["reversed"]):
        refused = set()
        for method in ("GET", "HEAD"):
            for headers in TRICKS:
                connection.request(method, path_of(asset), headers=headers)
                answer = connection.getresponse()
                content = answer.read()
                assert answer.status == 403, (method, headers)
                assert not any(piece in content for piece in pieces)
                assert answer.headers["Content-Type"] == "application/xml"
                assert {"ETag", "Last-Modified", "Accept-Ranges", "Content-Range"}.isdisjoint(
                    answer.headers
                )
                assert "no-store" in answer.headers["Cache-Control"]
                refused.add(answer.headers["Content-Length"])
        assert len(refused) == 1, "its length tells nothing of the image"
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            connection.request(method, path_of(asset), headers={"Content-Length": "0"})
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


def test_what_was_approved_is_served_whole_until_it_is_withdrawn(
    live_server: Any, make_review: Any, senior: User
) -> None:
    review = make_review()
    path = path_of(review.asset)
    connection = http.client.HTTPConnection(live_server.url.removeprefix("http://"), timeout=10)

    def status(method: str = "GET") -> tuple[int, str]:
        connection.request(method, path)
        answer = connection.getresponse()
        content = answer.read()
        assert method == "GET" or content == b""
        return answer.status, hashlib.sha256(content).hexdigest()

    assert status()[0] == 403
    decision = approve(review, senior)
    assert status() == (200, review.asset.sha256)
    assert status("HEAD")[0] == 200
    desk.reverse(decision=decision, user=senior)
    assert status()[0] == status("HEAD")[0] == 403
    approve(review, senior)
    assert status()[0] == 200, "the same address again, while its hour lasts"
    connection.close()


@pytest.fixture
def approved(make_review: Callable[..., Review], senior: User) -> Asset:
    review = make_review()
    approve(review, senior)
    return review.asset


def test_an_address_that_was_tampered_with_gets_nothing(approved: Asset, hidden: Hidden) -> None:
    good, other = token(approved), hidden.assets["undecided"]
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
def test_another_file_type_is_another_address(approved: Asset, extension: str) -> None:
    assert approved.image_type == "png"
    assert Client().get(f"/v3/images/{token(approved)}.{extension}").status_code == 403


@pytest.mark.parametrize(("age", "status"), [(3590, 200), (3610, 403), (86400, 403), (-60, 200)])
def test_an_address_lasts_an_hour(
    approved: Asset, monkeypatch: pytest.MonkeyPatch, age: int, status: int
) -> None:
    path = path_of(approved)
    now = time.time()
    monkeypatch.setattr("django.core.signing.time.time", lambda: now + age)
    answer = Client().get(path)
    content = read(answer)

    assert answer.status_code == status
    if status == 403:
        assert b"Request has expired" in content
    fresh = Client().get(path_of(approved))
    assert (fresh.status_code, bool(read(fresh))) == (200, True)


def test_a_file_that_is_lost_is_not_there_and_no_failure(approved: Asset) -> None:
    Asset.objects.filter(pk=approved.pk).update(rendition="renditions/00/gone.png")

    answer = Client().get(path_of(approved))
    assert (answer.status_code, b"<Code>NoSuchKey</Code>" in answer.content) == (404, True)


def test_an_image_of_classification_is_hidden_until_decided_too(make_review: Any) -> None:
    asset = make_review(source=Source.API, content=picture(77), external_id="k:1").asset
    key = make_key(*Scope.values)

    row = Client().get(f"/v1/assets/{asset.uuid}", headers=_header(key)).json()["asset"]
    assert (row["url"], row["status"]) == ("", "pending")
    assert Client().get(path_of(asset)).status_code == 403
    assert not GenerationRequest.objects.exists()
