"""The client of Scenario: saved and broken responses, and the sandbox over a socket."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from generation.providers import http
from generation.providers.base import (
    ProviderBusyError,
    ProviderError,
    ProviderMisconfiguredError,
    ProviderRejectedError,
)
from generation.providers.scenario import AssetNotFoundError, Scenario
from generation.sandbox import library
from generation.sandbox import scenario as sandbox

PAYLOADS = Path(__file__).parent / "payloads" / "scenario"
KEY, SECRET = "key-very-secret", "secret-even-more-so"
Handler = Callable[[httpx.Request], httpx.Response]


def provider(handler: Handler) -> Scenario:
    made = Scenario(
        api_key=KEY, api_secret=SECRET, base_url="https://scenario.test/v1/", label="Scenario"
    )
    made.use_transport(httpx.MockTransport(handler))
    return made


def answering(name: str) -> Scenario:
    saved = json.loads((PAYLOADS / f"{name}.json").read_text())
    return provider(
        lambda request: httpx.Response(
            saved["status"], json=saved["body"], headers=saved["headers"]
        )
    )


def saying(content: Any, status: int = 200) -> Scenario:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return provider(lambda request: httpx.Response(status, content=body))


def sent(call: Callable[[Scenario], object], answer: str) -> httpx.Request:
    requests: list[httpx.Request] = []
    body = json.loads((PAYLOADS / f"{answer}.json").read_text())["body"]

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json=body)

    call(provider(handler))
    return requests[0]


# --- Sent requests ---
def test_page_request_matches_the_published_client() -> None:
    request = sent(
        lambda client: client.list_assets("eyJr=", page_size=500, project="proj_1"), "page"
    )

    assert (request.method, request.url.path) == ("GET", "/v1/assets")
    assert dict(request.url.params) == {
        "pageSize": "100",
        "paginationToken": "eyJr=",
        "projectId": "proj_1",
        "sortBy": "createdAt",
        "sortDirection": "asc",
    }
    assert (
        request.headers["authorization"]
        == "Basic " + base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()
    )


def test_asset_id_is_exactly_one_path_segment() -> None:
    with pytest.raises(ProviderError):
        sent(lambda client: client.get_asset("../user?a=b", project="proj_1"), "asset")
    request = sent(lambda client: client.get_asset("asset_one"), "asset")

    assert (request.url.path, request.url.query) == ("/v1/assets/asset_one", b"")


# --- Responses ---
def test_page_is_read_with_every_state_of_the_labels() -> None:
    page = answering("page").list_assets()

    assert (page.next_token, page.unreadable) == ("eyJrIjoiMSJ9", 0)
    assert {asset.id.removeprefix("asset_"): asset.nsfw for asset in page.items} == {
        "clean": (),
        "labelled": ("violence", "tobacco"),
        "late": None,
        "null": None,
        "old": ("explicit_nudity", "suggestive"),
        "new": ("cosmic_dread", "alcohol"),
        "film": None,
        "pending": None,
    }
    by_id = {asset.id: asset for asset in page.items}
    assert [name for name, asset in by_id.items() if not asset.is_image] == ["asset_film"]
    assert [name for name, asset in by_id.items() if not asset.is_ready] == ["asset_pending"]


def test_provenance_contains_no_signed_url() -> None:
    asset = answering("page").list_assets().items[0]

    assert asset.provenance["prompt"] == "a harbour at dawn"
    assert asset.provenance["seed"] == "602245905551964461"
    assert asset.provenance["concepts"] == [{"modelId": "model_a", "scale": 0.8}]
    assert (asset.project, asset.created_at) == ("proj_harbour1", "2026-09-01T08:00:00.000Z")
    assert "canary" not in json.dumps(dict(asset.provenance))
    assert "Signature=canary-signature" in asset.url


def test_empty_page_can_have_a_next_page_and_the_last_page_has_none() -> None:
    assert answering("page_empty_with_token").list_assets().next_token == "eyJrIjoiMiJ9"
    assert answering("page_last").list_assets().next_token == ""


def test_invalid_entries_do_not_affect_others_and_are_never_clean() -> None:
    page = answering("page_odd").list_assets()

    assert page.unreadable == 5
    assert {asset.id: asset.nsfw for asset in page.items} == {
        "asset_text": None,
        "asset_mixed": ("alcohol", "7", '{"name": "gore"}', "null", ""),
        "asset_object": None,
        "asset_meta": (),
        "asset_number": (),
        "asset_bare": None,
    }


def test_get_asset_reads_labels_and_refuses_another_asset() -> None:
    assert answering("asset").get_asset("asset_one").nsfw == ("gambling",)
    assert answering("asset_without_labels").get_asset("asset_one").nsfw is None
    with pytest.raises(ProviderBusyError, match="another asset"):
        answering("asset").get_asset("asset_two")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"assets": null}',
        b'{"assets": [',
        b"[" * 50_000,
        b'{"assets": [], "x": NaN}',
        b'{"assets": [{"id": "a\\u0000"}]}',
    ],
)
def test_unreadable_response_raises_provider_busy_error(content: bytes) -> None:
    with pytest.raises(ProviderBusyError, match="could not be read"):
        saying(content).list_assets()
    with pytest.raises(ProviderBusyError, match="could not be read"):
        saying(content).get_asset("a")


# --- Errors ---
@pytest.mark.parametrize(
    ("name", "kind", "said", "wait"),
    [
        ("error_400", ProviderRejectedError, "Invalid paginationToken", None),
        ("error_401", ProviderMisconfiguredError, "Unauthorized", None),
        ("error_403", ProviderMisconfiguredError, "You have no access to this project", None),
        ("error_429", ProviderBusyError, "Rate limit exceeded", 7.0),
        ("error_429_bare", ProviderBusyError, "HTTP 429", None),
        ("error_500", ProviderBusyError, "HTTP 500", None),
        ("error_503", ProviderBusyError, "Service Unavailable", 30.0),
    ],
)
def test_documented_error_raises_its_own_error_with_a_message(
    name: str, kind: type[ProviderError], said: str, wait: float | None
) -> None:
    for call in (
        lambda: answering(name).list_assets(),
        lambda: answering(name).get_asset("a"),
        answering(name).check,
    ):
        with pytest.raises(ProviderError) as caught:
            call()
        assert type(caught.value) is kind
        assert said in str(caught.value)
        assert str(caught.value).startswith("Scenario ")
        assert getattr(caught.value, "retry_after", None) == wait
        assert "canary" not in str(caught.value)
        assert "very-secret" not in str(caught.value)


def test_missing_asset_raises_asset_not_found_error() -> None:
    with pytest.raises(AssetNotFoundError, match="no such asset"):
        answering("error_404").get_asset("a")
    with pytest.raises(ProviderMisconfiguredError):  # for the list, a 404 means a wrong URL
        answering("error_404").list_assets()


@pytest.mark.parametrize(
    "secret", [KEY, SECRET, base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()]
)
def test_secret_quoted_by_the_provider_is_not_repeated(secret: str) -> None:
    with pytest.raises(ProviderError) as caught:
        saying(
            {"message": f"the credentials {secret} are wrong", "code": secret}, 401
        ).list_assets()

    assert secret not in str(caught.value) + caught.value.reason


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("no"),
        httpx.ReadTimeout("no"),
        httpx.RemoteProtocolError("no"),
        OSError("no"),
    ],
)
def test_connection_failure_raises_provider_busy_error(error: Exception) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(ProviderBusyError):
        provider(handler).list_assets()


def test_redirect_is_not_followed() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.host == "scenario.test"
        return httpx.Response(302, headers={"location": "https://elsewhere.test/v1/assets"})

    with pytest.raises(ProviderMisconfiguredError):
        provider(handler).list_assets()


# --- Over a socket ---
@pytest.fixture
def live(live_server: Any) -> Callable[..., Scenario]:
    def make(key: str = "sandbox", secret: str = "sandbox") -> Scenario:
        base_url = f"{live_server.url}/sandbox/scenario/v1"
        return Scenario(
            api_key=key, api_secret=secret, base_url=base_url, label="Scenario (sandbox)"
        )

    return make


def walk(client: Scenario, **options: Any) -> list[int]:
    """Return the sizes of all pages."""
    sizes, token = [], ""
    while True:
        page = client.list_assets(token, **options)
        sizes.append(len(page.items))
        token = page.next_token
        if not token:
            return sizes


def test_sandbox_lists_every_asset_once_and_has_an_empty_page(
    live: Callable[..., Scenario],
) -> None:
    for size in (7, 50, 100):
        sizes = walk(live(), page_size=size)
        assert sum(sizes) == len(library.ASSETS)
        assert sizes.count(0) == 1
        assert max(sizes) <= size
    total = [sum(walk(live(), project=project)) for project in library.PROJECTS]
    assert sum(total) == len(library.ASSETS)
    assert min(total) > 0


def test_published_client_reads_several_sandbox_assets(live_server: Any, settings: Any) -> None:
    sdk = pytest.importorskip(
        "scenario_sdk", reason="scenario-sdk, the published client, is not installed"
    )
    settings.SANDBOX = True
    base_url = f"{live_server.url}/sandbox/scenario/v1"
    ids = [exhibit.id for exhibit in library.ASSETS[:3]]
    with sdk.Scenario(
        api_key="k", api_secret="s", base_url=base_url, _strict_response_validation=True
    ) as client:
        found = client.assets.get_bulk(asset_ids=[*ids, "asset_nobody"]).assets
        assert [asset.id for asset in found] == ids
        with pytest.raises(sdk.BadRequestError, match="200"):
            client.assets.get_bulk(asset_ids=["x"] * 201)


def test_sandbox_returns_the_assets_of_its_library(live: Callable[..., Scenario]) -> None:
    client = live()
    for exhibit in library.ASSETS[:12]:
        found = client.get_asset(exhibit.id)
        assert (found.id, found.is_image, found.provenance["prompt"]) == (
            exhibit.id,
            exhibit.is_image,
            exhibit.prompt,
        )
        if exhibit.trait != library.LATE:
            assert found.nsfw == exhibit.labels


def test_sandbox_returns_late_labels_at_the_third_call(live: Callable[..., Scenario]) -> None:
    late = next(exhibit for exhibit in library.ASSETS if exhibit.trait == library.LATE)

    assert [live().get_asset(late.id).nsfw for _ in range(3)] == [None, None, late.labels]


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("invalid", ProviderMisconfiguredError),
        ("sandbox-401", ProviderMisconfiguredError),
        ("sandbox-403", ProviderMisconfiguredError),
        ("sandbox-429", ProviderBusyError),
        ("sandbox-429-always", ProviderBusyError),
        ("sandbox-500", ProviderBusyError),
        ("sandbox-502", ProviderBusyError),
        ("sandbox-503", ProviderBusyError),
        ("sandbox-html", ProviderBusyError),
        ("sandbox-json", ProviderBusyError),
        ("sandbox-list", ProviderBusyError),
        ("sandbox-empty", ProviderBusyError),
        ("sandbox-hang", ProviderBusyError),
    ],
)
def test_sandbox_key_raises_its_error(
    live: Callable[..., Scenario],
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    kind: type[ProviderError],
) -> None:
    monkeypatch.setattr(sandbox, "HANGING", 1.0)
    monkeypatch.setattr(http, "READ_TIMEOUT", httpx.Timeout(0.5 if key == "sandbox-hang" else 10))

    with pytest.raises(ProviderError) as caught:
        live(key).check()

    assert type(caught.value) is kind
    assert str(caught.value).startswith("Scenario (sandbox) ")


def test_busy_sandbox_accepts_the_third_call(live: Callable[..., Scenario]) -> None:
    for key in ("sandbox-429", "sandbox-503"):
        client, waits = live(key), []
        for _ in range(2):
            with pytest.raises(ProviderBusyError) as caught:
                client.check()
            waits.append(caught.value.retry_after)
        client.check()
        assert waits == [1.0, 1.0]


def test_sandbox_keys_for_slow_missing_odd_and_looping_responses_work(
    live: Callable[..., Scenario], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "SLOW", 0.1)
    live("sandbox-slow").check()
    with pytest.raises(AssetNotFoundError):
        live("sandbox-404").get_asset(library.ASSETS[0].id)
    odd = live("sandbox-odd").list_assets(page_size=10)
    assert odd.unreadable == 3
    assert [asset.nsfw for asset in odd.items][:3] == [None, ("7", '{"name": "gore"}'), None]
    first = live("sandbox-loop").list_assets(page_size=5)
    assert (
        live("sandbox-loop").list_assets(first.next_token, page_size=5).next_token
        == first.next_token
    )


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("assets?pageSize=0", 400),
        ("assets?pageSize=101", 400),
        ("assets?pageSize=many", 400),
        ("assets?paginationToken=made-up", 400),
        ("assets?projectId=proj_of_others", 403),
        ("assets/asset_unknown", 404),
    ],
)
def test_sandbox_refuses_invalid_parameters(client: Any, db: None, path: str, status: int) -> None:
    header = "Basic " + base64.b64encode(b"sandbox:sandbox").decode()

    assert (
        client.get(f"/sandbox/scenario/v1/{path}", headers={"authorization": header}).status_code
        == status
    )


@pytest.mark.parametrize(
    "header", ["", "Basic", "Basic !!!", "Basic c2FuZGJveA==", "Bearer c2FuZGJveDpzYW5kYm94"]
)
def test_sandbox_requires_key_and_secret(client: Any, db: None, header: str) -> None:
    assert (
        client.get("/sandbox/scenario/v1/assets", headers={"authorization": header}).status_code
        == 401
    )


def test_sandbox_image_requires_a_valid_signature(client: Any, db: None, settings: Any) -> None:
    header = "Basic " + base64.b64encode(b"sandbox:sandbox").decode()
    page = client.get(
        "/sandbox/scenario/v1/assets?pageSize=1", headers={"authorization": header}
    ).json()
    url = page["assets"][0]["url"]

    assert client.get(url).status_code == 200
    assert client.get(url.partition("?")[0]).status_code == 403
    assert client.get(url[:-1] + ("0" if url[-1] != "0" else "1")).status_code == 403
    settings.SANDBOX = False
    assert client.get(url).status_code == 404
    assert (
        client.get("/sandbox/scenario/v1/assets", headers={"authorization": header}).status_code
        == 404
    )
