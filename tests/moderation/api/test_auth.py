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
from moderation.api import auth as api_auth
from moderation.api.auth import ApiError, Call, endpoint, json_response
from moderation.services import housekeeping

pytestmark = pytest.mark.django_db


def refuse(error: ApiError) -> Any:
    return json_response(
        {"refusal": error.code, "message": str(error)}, status=api_auth.STATUS[error.code]
    )


@endpoint(scope=Scope.GENERATE, methods=("POST",), body_max=100, refuse=refuse)
def view(call: Call) -> Any:
    body = api_auth.read_json(call.request)
    call.consume(int(body["images"]))
    return json_response({"name": call.key.name})


def post(key: str = "", body: str = '{"images": 1}', **headers: str) -> Any:
    auth = {"authorization": f"Bearer {key}"} if key else {}
    request: HttpRequest = RequestFactory().post(
        "/v3/x", data=body, content_type="application/json", headers={**auth, **headers}
    )
    return view(request)


def create_key(**fields: Any) -> tuple[ApiKey, str]:
    return ApiKey.make(**{"name": "shop", "scopes": ["generate"], **fields})


def test_create_api_key_prints_only_key_to_stdout(moderator: User) -> None:
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


def test_stored_digest_and_hint_do_not_authenticate() -> None:
    key, text = create_key()

    stored = str(list(ApiKey.objects.values()))
    assert text not in stored
    assert text.removeprefix(f"{key.hint}_") not in stored  # the secret may contain underscores
    assert post(key.digest).status_code == 401
    assert post(key.hint).status_code == 401
    assert post(text).status_code == 200


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "{}", "Basic {basic}"])
def test_key_is_accepted_in_every_header_of_published_clients(form: str) -> None:
    import base64

    _, text = create_key()
    basic = base64.b64encode(f"{text}:anything".encode()).decode()

    assert post(authorization=form.format(text, basic=basic)).status_code == 200
    assert post(**{"x-api-key": text}).status_code == 200


def test_key_in_query_string_returns_401() -> None:
    _, text = create_key()
    request = RequestFactory().post(
        f"/v3/x?api_key={text}&key={text}", data="{}", content_type="application/json"
    )

    assert view(request).status_code == 401


def test_revoked_expired_and_unknown_keys_return_401() -> None:
    revoked, text = create_key()
    assert post(text).status_code == 200
    revoked.revoke()
    _, late = create_key(expires_at=timezone.now() - timedelta(seconds=1))

    assert [post(key).status_code for key in (text, late, "lp_00000000_nonsense", "é")] == [
        401,
        401,
        401,
        401,
    ]


def test_missing_scope_returns_403_and_stores_the_call() -> None:
    key, text = create_key(scopes=["read"])

    answer = post(text)

    assert answer.status_code == 403
    assert b"lacks the scope generate" in answer.content
    assert list(ApiCall.objects.values_list("key", "status")) == [(key.pk, 403)]


def test_calls_beyond_minute_limit_return_429() -> None:
    _, text = create_key(calls_per_minute=3)

    answers = [post(text) for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert 55 <= int(answers[-1]["Retry-After"]) <= 61
    ApiKey.objects.update(minute_began_at=timezone.now() - timedelta(seconds=61))
    assert [post(text).status_code for _ in range(4)] == [200, 200, 200, 429]


@pytest.mark.django_db(transaction=True)
def test_concurrent_calls_beyond_minute_limit_return_429() -> None:
    """All calls start before the first one ends."""
    _, text = create_key(calls_per_minute=10)
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


def test_images_beyond_daily_limit_return_429_and_cost_nothing() -> None:
    _, text = create_key(images_per_day=5)

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
def test_malformed_json_body_returns_400_or_413(body: str) -> None:
    _, text = create_key()
    request = RequestFactory().post(
        "/v3/x",
        data=body.encode("utf-8", "surrogatepass"),
        content_type="application/json",
        headers={"authorization": text},
    )

    assert view(request).status_code in (400, 413)


def test_internal_error_returns_500_without_details(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, text = create_key()

    answer = post(text, '{"images": "secret-words"}')

    assert answer.status_code == 500
    assert b"secret-words" not in answer.content
    assert b"internal" in answer.content


def test_old_api_calls_are_deleted() -> None:
    key, text = create_key()
    post(text)
    ApiCall.objects.create(
        key=key, method="GET", path="/", status=200, created_at=timezone.now() - timedelta(days=31)
    )

    assert housekeeping.delete_old_calls(500) == 1
    assert ApiCall.objects.count() == 1


def test_admin_shows_new_key_once(admin: User, client_of: Callable[[User], Client]) -> None:
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
