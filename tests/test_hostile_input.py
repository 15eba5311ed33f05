"""Hostile values for every URL of Loupe; no response may be a 5xx.

Routes, parameter names and the filters of the admin are read from the code, so that new ones are
tested too. Each request ends with a rollback, so that it does not affect the next one.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes
from uuid import uuid4

import pytest
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.utils import get_fields_from_path
from django.contrib.auth.models import User
from django.db import models, transaction
from django.forms import BaseForm
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from generation.models import GenerationRequest
from generation.services import model_catalog
from moderation.models import Verdict
from moderation.services import decisions
from tests.moderation.api.calls import make_key
from tests.moderation.api.test_novita import body

pytestmark = pytest.mark.django_db
ClientOf = Callable[[User], Client]
Make = Callable[..., Any]

# Percent-encoded, as in a URL or a form.
VALUES = {
    "NUL": "%00",
    "NUL inside": "a%00b",
    "4,400 digits": "9" * 4400,
    "65 bits": str(2**64),
    "64 bits": str(2**63),
    "negative": "-" + "9" * 40,
    "cursor of 4,400 digits": "1." + "9" * 4400,
    "exponent": "1e999999",
    "not a number": "NaN",
    "digits of another script": quote("٣²"),
    "lone surrogate": "%ED%A0%80",
    "malformed UTF-8": "%FF%FE%C0%80",
    "day before all others": "0001-01-01",
    "day after all others": "9999-12-31",
    "moment before all others": quote("0001-01-01T00:00:00+14:00"),
    "moment after all others": quote("9999-12-31T23:59:59-14:00"),
    "no such day": "2026-02-30",
    "long": "a" * 3000,
    "deep": quote("[" * 3000),
    "markup": quote("'\"><script>{{ x }}\r\n\u2028\u202e😀%s"),
    "empty": "",
}
# A selection of VALUES for parameters that are tested one by one.
FEW = (
    "4,400 digits",
    "65 bits",
    "moment before all others",
    "moment after all others",
    "malformed UTF-8",
    "markup",
)
# Parameters tested one by one, because a page may refuse a combination at its first wrong value.
ALONE = {
    "/decisions/": ("before", "start", "end", "category", "reviewer", "by"),
    "/exports/decisions.csv": ("start", "end", "reviewer", "evidence"),
    "/exports/images.jsonl": ("start", "end", "reviewer", "status"),
    "/search/": (
        "q",
        "seed",
        "start",
        "end",
        "like",
        "before",
        "model",
        "lora",
        "requester",
        "hour",
        "weekday",
        "status",
        "named",
    ),
    "/queues/waiting/": ("after", "risk", "hours", "category", "provider", "order"),
    "/queues/waiting/sheet/": ("open", "batch", "size"),
    "/queues/waiting/arrivals/": ("since",),
    "/requests/": ("q", "before", "status"),
    "/requests/new/": ("from", "preset", "provider", "model_name", "picked"),
    "/requests/models/": ("q", "kind", "provider", "cursor", "page"),
    "/quality/": ("days",),
    "/insights/": ("span",),
    "/insights.csv": ("span", "figure"),
    "/insights/classifiers/": ("days",),
    "/insights/prompts/": ("from",),
    "/insights/risk/": ("days",),
    "/insights/risk/word/": ("days",),
    "/v1/assets": (
        "pageSize",
        "paginationToken",
        "createdAfter",
        "createdBefore",
        "inferenceId",
        "modelId",
        "types",
    ),
    "/v3/model": ("pagination.limit", "pagination.cursor", "filter.query", "filter.types"),
    "/v3/async/task-result": ("task_id",),
    "/sandbox/scenario/v1/assets": ("pageSize", "paginationToken", "projectId"),
    "/sandbox/novita/v3/model": ("pagination.limit", "pagination.cursor", "filter.query"),
}
HEADERS = (
    "Accept",
    "Authorization",
    "Content-Type",
    "HX-Current-URL",
    "HX-Target",
    "HX-Trigger",
    "Idempotency-Key",
    "If-Modified-Since",
    "If-None-Match",
    "Origin",
    "Range",
    "Referer",
    "Transfer-Encoding",
    "User-Agent",
    "X-API-Key",
    "X-CSRFToken",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Real-IP",
)
HEADER_VALUES = (
    "",
    "a" * 8000,
    "http://[",
    "http://[::1",
    "http://a:99999999/",
    "//",
    "\xff\xfe",
    "9" * 4400,
    "Basic %%%",
    "bytes=9999999999999999999999-",
    "multipart/form-data",
    "application/json; charset=nothing",
    "Thu, 99 Jan 9999",
)


class RolledBackError(Exception):
    pass


class Caller:
    """A client that rolls back every request and records every 5xx."""

    def __init__(self, client: Client, **headers: str) -> None:
        self.client, self.headers = client, headers
        self.client.raise_request_exception = False
        self.failures: list[str] = []
        self.statuses: set[int] = set()
        self.count = 0

    def send(
        self, method: str, path: str, raw: bytes | str = b"", kind: str = "", **headers: str
    ) -> None:
        target, _, query = path.partition("?")
        status = 500
        with contextlib.suppress(RolledBackError), transaction.atomic():
            answer: Any = self.client.generic(
                method,
                target,
                raw,
                kind or "application/octet-stream",
                headers={**self.headers, **headers},
                QUERY_STRING=query,
                PATH_INFO=unquote_to_bytes(target).decode("latin-1"),
            )
            if answer.streaming:
                b"".join(answer.streaming_content)
            status = answer.status_code
            raise RolledBackError
        self.count += 1
        self.statuses.add(status)
        if status >= 500 and status != 503:  # 503: no provider is running
            self.failures.append(f"{status} {method} {path[:120]} {raw[:80]!r} {headers}"[:300])

    def get(self, path: str, **headers: str) -> None:
        self.send("GET", path, **headers)

    def post_form(self, path: str, form: str) -> None:
        self.send("POST", path, form, "application/x-www-form-urlencoded")

    def post_json(self, path: str, raw: bytes) -> None:
        self.send("POST", path, raw, "application/json")


def parameter_names() -> list[str]:
    """Return the names of all parameters that views and forms read, found in the source."""
    names = {"q", "page", "p", "o", "e", "next", "username", "password"}
    for app in ("config", "generation", "moderation"):
        for path in (Path(settings.BASE_DIR) / app).rglob("*.py"):
            text = path.read_text()
            names.update(
                re.findall(
                    r"""(?:GET|POST|data|given|params|query)\.get(?:list)?\("([\w.-]+)\"""", text
                )
            )
    ours = ("config", "generation", "moderation")
    forms = [form for form in _subclasses(BaseForm) if form.__module__.startswith(ours)]
    names.update(name for form in forms for name in getattr(form, "base_fields", {}))
    return sorted(names)


def _subclasses(kind: type) -> Iterator[type]:
    for found in kind.__subclasses__():
        yield found
        yield from _subclasses(found)


def paths(arguments: dict[str, str]) -> list[str]:
    """Return the path of every URL except those of the admin, which has its own test."""
    found = [
        path
        for path in _paths(get_resolver().url_patterns, "/", arguments)
        if not path.startswith("/admin/")
    ]
    return list(dict.fromkeys(found))


def _paths(
    routes: Iterable[URLPattern | URLResolver], before: str, arguments: dict[str, str]
) -> Iterator[str]:
    for route in routes:
        text = str(route.pattern)
        if "[" in text:  # a regular expression that matches the rest of the path
            text = re.sub(r"\[.*$", "left", text)
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda match: arguments.get(match[1], match[1]), text)
        if isinstance(route, URLResolver):
            yield from _paths(route.url_patterns, before + path, arguments)
        else:
            yield before + path


@pytest.fixture
def places(make_review: Make, moderator: User, make_request: Make) -> list[str]:
    """Return the paths of all URLs, with the ids of existing rows."""
    review, item = make_review(), make_request()
    decisions.claim(review=review, user=moderator)
    decision = decisions.decide(review=review, user=moderator, verdict=Verdict.APPROVE)
    waiting = make_review()
    asset = str(review.asset.uuid)
    named = {
        "slug": "waiting",
        "secret": "x" * 43,
        "asset_id": asset,
        "token": "a:b",
        "extension": "png",
    }
    uuids = {
        "/reviews/": waiting.uuid,
        "/decisions/": decision.uuid,
        "/requests/": item.uuid,
        "/assets/": asset,
    }
    found = paths({**named, "uuid": "UUID", "task_id": str(item.uuid), "position": "0"})
    return [
        path.replace(
            "UUID",
            str(next((uuid for start, uuid in uuids.items() if path.startswith(start)), uuid4())),
        )
        for path in found
    ]


def some_values(start: int, count: int) -> list[str]:
    """Return ``count`` values; consecutive starts return all values in turn."""
    values = list(VALUES.values())
    return [values[(start * count + at) % len(values)] for at in range(count)]


def query(names: Iterable[str], value: str) -> str:
    return "&".join(f"{name}={value}" for name in names)


def test_hostile_values_cause_no_5xx_on_pages_of_a_senior_moderator(
    places: list[str], senior: User, client_of: ClientOf
) -> None:
    caller, names = Caller(client_of(senior)), parameter_names()
    assert {"before", "after", "open", "note", "seconds", "pageSize", "task_id"} <= set(names)
    for at, path in enumerate(places):
        for value in some_values(at, 2):
            caller.get(f"{path}?{query(names, value)}")
            caller.post_form(path, query(names, value))
    for path, alone in ALONE.items():
        for at, name in enumerate(alone):
            for value in (*(VALUES[few] for few in FEW[:3]), *some_values(at, 1)):
                caller.get(f"{path}?{name}={value}")

    assert caller.failures == []
    assert {200, 302, 400, 404, 422} <= caller.statuses


def test_hostile_form_fields_cause_no_5xx(
    places: list[str], moderator: User, client_of: ClientOf
) -> None:
    """Send forms with one invalid field among valid ones."""
    caller = Caller(client_of(moderator))
    verdict = {
        "verdict": "approve",
        "note": "reason",
        "categories": "explicit",
        "seconds": "3",
        "queue": "waiting",
        "decision": str(uuid4()),
        "have": "x",
        "want": "2",
        "until": "2026-01-01T00:00:00+00:00",
        "deck": "1",
    }
    many = {
        "shown": "x",
        "review": "x",
        "step": "confirm",
        "tile": "x",
        "batch": "x",
        "verdict": "approve",
        "note": "reason",
    }
    forms = {
        "/reviews/": verdict,
        "/decisions/": {"note": "reason", "queue": "waiting"},
        "/undo/": {"review": "x", "queue": "waiting"},
        "/queues/": {
            **many,
            "want": "2",
            "have": "x",
            "deck": "1",
            "name": "a queue",
            "again": "1",
        },
        "/claims/": {"have": "x", "lingers": "x", "until": "2026-01-01T00:00:00+00:00"},
        "/batches/": {"note": "reason", "sight": "size=s", "queue": "waiting"},
        "/preferences/": {
            "category": "explicit",
            "avoid": "on",
            "next": "/",
            "review": "x",
            "queue": "waiting",
        },
        "/login/": {"username": "ada", "password": "x", "next": "/"},
    }
    targets = [
        (path, good) for start, good in forms.items() for path in places if path.startswith(start)
    ]
    for path, good in targets:
        for at, name in enumerate(good):
            for value in some_values(at, 1):
                fields = {**{key: quote(text) for key, text in good.items()}, name: value}
                caller.post_form(path, "&".join(f"{key}={text}" for key, text in fields.items()))
        parts = "".join(
            f'--x\r\nContent-Disposition: form-data; name="{n}"\r\n\r\na\0b\r\n' for n in good
        )
        caller.send("POST", path, f"{parts}--x--\r\n", "multipart/form-data; boundary=x")
        for kind in (
            "multipart/form-data",
            "multipart/form-data; boundary=" + "x" * 500,
            "text/x; charset=nothing",
        ):
            caller.send("POST", path, b"\xff\0--x", kind)

    assert caller.failures == []
    assert caller.count > 200


def test_nul_character_in_a_note_is_refused_with_a_message(
    make_review: Make, moderator: User, client_of: ClientOf
) -> None:
    review = make_review()
    decisions.claim(review=review, user=moderator)
    decision = decisions.decide(review=review, user=moderator, verdict=Verdict.APPROVE)

    answer = client_of(moderator).post(f"/decisions/{decision.uuid}/reversal/", {"note": "a\0b"})

    assert answer.status_code == 400
    assert "NUL character" in answer.content.decode()
    review.refresh_from_db()
    assert review.status == "approved"


def test_hostile_anonymous_requests_cause_no_5xx(places: list[str]) -> None:
    for at, cookie in enumerate(
        ("\0aaaaaaaaaaa", "a" * 5000, "é" * 32, '"', "a;b", "-" * 32, "\xff" * 32)
    ):
        client = Client()
        client.cookies[settings.SESSION_COOKIE_NAME] = client.cookies[settings.CSRF_COOKIE_NAME] = (
            cookie
        )
        caller = Caller(client)
        for path in places if at == 0 else ("/", "/login/"):
            caller.get(path)
        caller.post_form("/login/", "username=a&password=b")
        assert caller.failures == []
    caller = Caller(Client(enforce_csrf_checks=True))
    for path in ("/", "/login/", "/static/css/base.css", "/v3/model", "/nowhere"):
        for name in HEADERS:
            for value in HEADER_VALUES if path == "/" else HEADER_VALUES[:3]:
                caller.get(path, **{name: value, "HX-Request": "true"})
        for host in (
            "",
            "a" * 60_000,
            "[",
            "[::1",
            "a:b",
            "a:99999999",
            "\xff",
            "a b",
            "é.example",
            "..",
            "-",
        ):
            caller.get(path, Host=host)
        caller.get(path + "?" + "&".join(f"a{number}=1" for number in range(1001)))
    for value in VALUES.values():
        for path in (
            "/",
            "/static/",
            "/queues/",
            "/v1/assets/",
            "/v3/images/",
            "/webhooks/novita/",
            "/admin/",
        ):
            caller.get(f"{path}{value}")
        caller.get(f"/login/?next={value}")

    assert caller.failures == []


def test_hostile_api_calls_cause_no_5xx(places: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_catalog, "fetch_page", lambda question: model_catalog.CatalogPage())
    key = make_key("generate", "classify", "read", calls_per_minute=1_000_000)
    caller, names = (
        Caller(Client(enforce_csrf_checks=True), Authorization=f"Bearer {key}"),
        parameter_names(),
    )
    api = [
        path
        for path in places
        if path.startswith(("/v1/", "/v3/", "//v3/", "/api/", "/webhooks/", "/sandbox/"))
    ]
    assert len(api) > 15
    for at, path in enumerate(api):
        for value in some_values(at, 1):
            caller.get(f"{path}?{query(names, value)}")
        # Most URLs read no body, and the classification URLs read the same few fields.
        step = 1 if path.endswith("/txt2img") else 3 if path.endswith("/nsfw/image") else 50
        for raw in list(hostile_json())[::step]:
            caller.post_json(path, raw)
    for path in (path for path in ALONE if path.startswith(("/v", "/sandbox/"))):
        for at, name in enumerate(ALONE[path]):
            for value in (*(VALUES[few] for few in FEW[:3]), *some_values(at, 1)):
                caller.get(f"{path}?{name}={value}")
    for name in HEADERS:
        for value in HEADER_VALUES[::2]:
            caller.send("POST", "/v3/async/txt2img", b"{}", "application/json", **{name: value})

    assert caller.failures == []


def hostile_json() -> Iterator[bytes]:
    """Yield JSON bodies with one invalid value among valid ones."""
    values = [
        '"\\ud800"',
        '"a\\u0000b"',
        "9" * 4000,
        str(2**63),
        str(2**64),
        "-" + "9" * 400,
        "1e999",
        "NaN",
        "[" * 100_000,
        '{"a": 1, "a": 2}',
        '"' + "a" * 100_000 + '"',
        "null",
        "[]",
        '"9999-99-99"',
    ]
    good: dict[str, Any] = {
        **body(),
        "extra": {"response_image_type": "png"},
        "imageDataUrl": "data:,",
    }
    places = ["extra", "request", "imageDataUrl", *good["request"]]
    for at, value in enumerate(values):
        yield value.encode()
        for place in places[
            at % 2 :: 2
        ]:  # half of the places for each value, the other half for the next value
            inner = (
                {**good["request"], place: "HERE"} if place in good["request"] else good["request"]
            )
            outer = {
                **good,
                "request": inner,
                **({} if inner != good["request"] else {place: "HERE"}),
            }
            yield json.dumps(outer).replace('"HERE"', value).encode()
    yield json.dumps(good).encode("utf-16")
    yield b"\xff\xfe" + json.dumps(good).encode()


@pytest.mark.parametrize(
    "path", ["/v3/model", "/v3/async/task-result", "//v3/model", "/v1/assets", "/v1/assets/x"]
)
def test_too_many_parameters_are_refused_in_the_format_of_the_api(path: str) -> None:
    key = make_key("generate", "classify", "read")
    many = "&".join(f"a{number}=1" for number in range(1001))

    answer: Any = Client().generic(
        "GET", path, PATH_INFO=path, QUERY_STRING=many, headers={"authorization": key}
    )

    if path == "/v1/assets/x":
        assert answer.status_code == 404  # it reads no parameter
        return
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/json"
    assert answer.json()["message"] == "The URL has more than 1000 query parameters. Send fewer."


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b'{"request": {}, "request": {}}', "names 'request' twice in one object"),
        (b'{"request": {"prompt": "\\ud800"}}', "an unpaired surrogate"),
        (b'{"request": {"prompt": "a\\u0000"}}', "a NUL character"),
    ],
)
def test_ambiguous_json_is_refused_with_a_message(raw: bytes, sentence: str) -> None:
    key = make_key("generate")

    answer: Any = Client().post(
        "/v3/async/txt2img", raw, content_type="application/json", headers={"authorization": key}
    )

    assert answer.status_code == 400
    assert sentence in answer.json()["message"]
    assert not GenerationRequest.objects.exists()


def test_surrogate_pair_is_read_as_one_character() -> None:
    answer = Client().post(
        "/v3/async/txt2img",
        json.dumps(body(prompt="a 😀 harbour")),
        content_type="application/json",
        headers={"authorization": make_key("generate")},
    )

    assert answer.status_code == 200
    assert GenerationRequest.objects.get().prompt == "a 😀 harbour"


def test_chunked_body_is_refused_with_a_message() -> None:
    answer: Any = Client().generic(
        "POST",
        "/v3/async/txt2img",
        headers={"authorization": make_key("generate"), "transfer-encoding": "chunked"},
    )

    assert answer.status_code == 400
    assert "Content-Length" in answer.json()["message"]


# --- The admin ---


def test_hostile_values_cause_no_5xx_in_the_admin(places: list[str], client_of: ClientOf) -> None:
    caller = Caller(client_of(User.objects.create_superuser("root")))
    for at, (model, options) in enumerate(admin.site._registry.items()):
        place = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        caller.get(
            f"{place}?{query(('q', 'p', 'o', 'e', '_facets', '_popup'), VALUES['4,400 digits'])}"
        )
        for value in some_values(at, 1):
            caller.get(f"{place}?q={value}")
        for name in (lookup for entry in options.list_filter for lookup in _lookups(model, entry)):
            for value in (VALUES[FEW[1 + at % 3]],):
                caller.get(f"{place}?{name}={value}")
        for value in (str(2**64), "%FF"):
            caller.get(f"{place}{value}/change/")
        caller.post_form(
            place,
            query(("action", "_selected_action", "select_across", "index"), VALUES["65 bits"]),
        )
        page: Any = caller.client.get(f"{place}add/")
        names = (
            re.findall(r' name="([^"]+)"', page.content.decode()) if page.status_code == 200 else []
        )
        for value in some_values(at, 2) if names else ():
            caller.post_form(f"{place}add/", query(set(names) - {"csrfmiddlewaretoken"}, value))

    assert caller.failures == []
    assert caller.count > 200


def _lookups(model: type[models.Model], entry: Any) -> list[str]:
    if not isinstance(entry, str):
        return [entry.parameter_name] if hasattr(entry, "parameter_name") else []
    field: Any = get_fields_from_path(model, entry)[-1]
    if isinstance(field, models.DateField):
        return [f"{entry}__gte", f"{entry}__lt", f"{entry}__isnull"]
    return [f"{entry}__id__exact"] if field.is_relation else [f"{entry}__exact", f"{entry}__isnull"]
