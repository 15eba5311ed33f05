from __future__ import annotations

import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import connection
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.utils import timezone

from generation.models import ApiCall, ApiKey, ImagesOfDay, Scope
from moderation.api import auth as gate
from moderation.api.auth import ApiError, Call, endpoint, json_response
from moderation.services import housekeeping

pytestmark = pytest.mark.django_db


def refuse(error: ApiError) -> Any:
    return json_response(
        {"refusal": error.code, "message": str(error)}, status=gate.STATUS[error.code]
    )


@endpoint(scope=Scope.GENERATE, methods=("POST",), body_max=100, refuse=refuse)
def view(call: Call) -> Any:
    body = gate.read_json(call.request)
    call.consume(int(body["images"]))
    return json_response({"name": call.key.name})


def post(key: str = "", body: str = '{"images": 1}', **headers: str) -> Any:
    auth = {"authorization": f"Bearer {key}"} if key else {}
    request: HttpRequest = RequestFactory().post(
        "/v3/x", data=body, content_type="application/json", headers={**auth, **headers}
    )
    return view(request)


def make(**fields: Any) -> tuple[ApiKey, str]:
    return ApiKey.make(**{"name": "shop", "scopes": ["generate"], **fields})


def test_the_command_prints_the_key_and_nothing_else(moderator: User) -> None:
    out, err = io.StringIO(), io.StringIO()
    call_command(
        "create_api_key",
        "shop",
        "--scope",
        "generate",
        "--scope",
        "read",
        "--owner",
        "moderator",
        stdout=out,
        stderr=err,
    )

    text = out.getvalue().strip()
    key = ApiKey.objects.get()
    assert out.getvalue() == f"{text}\n"
    assert err.getvalue() == f"Webhook signing secret, shown only now: {key.webhook_secret}\n"
    assert ApiKey.objects.authenticate(text) == key
    assert (key.scopes, key.owner) == (["generate", "read"], moderator)
    with pytest.raises(CommandError, match="no user called ghost"):
        call_command("create_api_key", "x", "--scope", "read", "--owner", "ghost")


def test_the_table_of_keys_lets_nobody_in() -> None:
    key, text = make()

    stored = str(list(ApiKey.objects.values()))
    assert text not in stored
    assert text.removeprefix(f"{key.hint}_") not in stored  # the secret may hold underscores itself
    assert post(key.digest).status_code == 401
    assert post(key.hint).status_code == 401
    assert post(text).status_code == 200


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "{}", "Basic {basic}"])
def test_a_key_is_taken_from_every_header_that_published_clients_use(form: str) -> None:
    import base64

    _, text = make()
    basic = base64.b64encode(f"{text}:anything".encode()).decode()

    assert post(authorization=form.format(text, basic=basic)).status_code == 200
    assert post(**{"x-api-key": text}).status_code == 200


def test_a_key_in_the_address_is_no_key() -> None:
    _, text = make()
    request = RequestFactory().post(
        f"/v3/x?api_key={text}&key={text}", data="{}", content_type="application/json"
    )

    assert view(request).status_code == 401


def test_revoked_expired_and_unknown_keys_are_refused_at_once() -> None:
    revoked, text = make()
    assert post(text).status_code == 200
    revoked.revoke()
    _, late = make(expires_at=timezone.now() - timedelta(seconds=1))

    assert [post(key).status_code for key in (text, late, "lp_00000000_nonsense", "é")] == [
        401,
        401,
        401,
        401,
    ]


def test_a_scope_that_is_missing_is_named_and_the_call_is_listed() -> None:
    key, text = make(scopes=["read"])

    answer = post(text)

    assert answer.status_code == 403
    assert b"lacks the scope generate" in answer.content
    assert list(ApiCall.objects.values_list("key", "status")) == [(key.pk, 403)]


def test_calls_are_limited_by_the_minute() -> None:
    _, text = make(calls_per_minute=3)

    answers = [post(text) for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert 55 <= int(answers[-1]["Retry-After"]) <= 61
    ApiKey.objects.update(minute_began_at=timezone.now() - timedelta(seconds=61))
    assert [post(text).status_code for _ in range(4)] == [200, 200, 200, 429]


@pytest.mark.django_db(transaction=True)
def test_calls_side_by_side_are_limited_like_calls_one_after_another() -> None:
    """All of them come before the first has ended."""
    _, text = make(calls_per_minute=10)
    together = threading.Barrier(60)

    def call(_: int) -> int:
        try:
            together.wait(30)
            return int(post(text).status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(60) as threads:
        statuses = sorted(threads.map(call, range(60)))

    assert statuses == [200] * 10 + [429] * 50


def test_images_are_limited_by_the_day_and_refused_calls_cost_none() -> None:
    _, text = make(images_per_day=5)

    assert post(text, '{"images": 3}').status_code == 200
    too_many = post(text, '{"images": 3}')
    assert too_many.status_code == 429
    assert b"2 of its 5 images left today" in too_many.content
    assert post(text, '{"images": 2}').status_code == 200
    ImagesOfDay.objects.update(day=timezone.now() - timedelta(days=1))
    assert post(text, '{"images": 5}').status_code == 200


@pytest.mark.parametrize(
    "body", ["", "{", "[NaN]", "\ud800", '{"a": "\\u0000"}', "[" * 20000, "1" * 5000, "x" * 101]
)
def test_a_body_that_is_no_json_gets_a_4xx(body: str) -> None:
    _, text = make()
    request = RequestFactory().post(
        "/v3/x",
        data=body.encode("utf-8", "surrogatepass"),
        content_type="application/json",
        headers={"authorization": text},
    )

    assert view(request).status_code in (400, 413)


def test_a_failure_inside_is_worded_in_the_format_and_tells_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, text = make()

    answer = post(text, '{"images": "secret-words"}')

    assert answer.status_code == 500
    assert b"secret-words" not in answer.content
    assert b"internal" in answer.content


def test_old_calls_are_forgotten() -> None:
    key, text = make()
    post(text)
    ApiCall.objects.create(
        key=key, method="GET", path="/", status=200, created_at=timezone.now() - timedelta(days=31)
    )

    assert housekeeping.delete_old_calls(500) == 1
    assert ApiCall.objects.count() == 1


def test_the_admin_shows_a_new_key_once(admin: User, client_of: Callable[[User], Client]) -> None:
    browser = client_of(admin)

    page = browser.post(
        "/admin/generation/apikey/add/",
        {"name": "shop", "scopes": ["read"], "calls_per_minute": 60},
    )

    shown = page.content.decode().split('<code id="key">')[1].split("<")[0]
    assert ApiKey.objects.authenticate(shown) is not None
    assert "no-store" in page["Cache-Control"]
    assert shown not in str([row.get_decoded() for row in Session.objects.all()])
    assert shown not in browser.get("/admin/generation/apikey/").content.decode()
    key = ApiKey.objects.get()
    browser.post("/admin/generation/apikey/", {"action": "revoke", "_selected_action": [key.pk]})
    assert ApiKey.objects.authenticate(shown) is None
