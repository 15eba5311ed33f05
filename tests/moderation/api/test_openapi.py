"""The OpenAPI document: valid, complete, readable as a page, and true of the server."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from generation.models import Scope
from generation.providers.base import Model
from generation.services import model_catalog
from generation.wire.txt2img import RANGES
from moderation.api.openapi import document as openapi
from moderation.api.openapi.operations import OPERATIONS
from moderation.classifiers.base import Assessment
from moderation.classifiers.sandbox import Sandbox
from tests.missing import skip_unless_required
from tests.moderation.api.calls import make_key

openapi_spec_validator = pytest.importorskip("openapi_spec_validator")
schemathesis = pytest.importorskip("schemathesis")
hypothesis = pytest.importorskip("hypothesis")

pytestmark = pytest.mark.django_db
API_PREFIXES = ("/v1/", "/v3/", "/api/")
# The document and its page are not part of the API.
OTHER_PATHS = {"/api/openapi.json", "/api/docs"}


def fetch_document() -> dict[str, Any]:
    answer = Client().get("/api/openapi.json")
    assert answer.status_code == 200
    return dict(answer.json())


def list_routes(resolver: URLResolver | None = None, prefix: str = "/") -> list[str]:
    found: list[str] = []
    for entry in (resolver or get_resolver()).url_patterns:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLPattern):
            found.append(re.sub(r"<\w+:(\w+)>", r"{\1}", path))
        elif entry.app_name != "admin":
            found += list_routes(entry, path)
    return found


def test_document_is_valid_and_needs_no_key() -> None:
    openapi_spec_validator.validate(fetch_document())


def test_document_lists_exactly_the_urls_of_the_api() -> None:
    api_paths = {
        path for path in list_routes() if path.startswith(API_PREFIXES) and "[" not in path
    } - OTHER_PATHS

    assert {re.sub(r"asset_id", "assetId", path) for path in api_paths} == set(
        fetch_document()["paths"]
    )


def test_document_has_the_ranges_that_the_code_checks() -> None:
    request = fetch_document()["components"]["schemas"]["NovitaRequest"]["properties"]

    assert (request["width"]["minimum"], request["width"]["maximum"]) == RANGES["request", "width"]
    assert (request["prompt"]["minLength"], request["prompt"]["maxLength"]) == RANGES[
        "request", "prompt"
    ]
    assert len(request["sampler_name"]["enum"]) == 20


def test_document_has_no_internal_notes() -> None:
    text = str(fetch_document())

    for word in ("Inferred", "our client", "The page is stricter", "sandbox", "$defs"):
        assert word not in text


def test_every_operation_is_complete() -> None:
    assert len({operation.id for operation in OPERATIONS}) == len(OPERATIONS)
    for operation in OPERATIONS:
        assert operation.about.endswith(".")
        assert "…" not in operation.example


@pytest.mark.django_db(transaction=True)
def test_every_example_runs_unchanged(
    live_server: Any,
    settings: Any,
    tmp_path: Path,
    make_asset: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if shutil.which("curl") is None:
        skip_unless_required("curl is not installed", "REQUIRE_SERVERS")
    settings.CLASSIFIERS = ["sandbox"]
    settings.PUBLIC_URL = live_server.url
    model = Model(name="alder_v4.safetensors", title="Alder", base_model="SD 1.5", is_sdxl=False)
    monkeypatch.setattr(
        model_catalog,
        "fetch_page",
        lambda question: model_catalog.CatalogPage(models=(model,), asked_at=timezone.now()),
    )
    monkeypatch.setattr(Sandbox, "assess", lambda *args, **words: Assessment(flagged=True))
    review = make_asset().review
    review.move_to("approved", decided_at=timezone.now())
    page = html.unescape(Client().get("/api/docs").content.decode())
    env = {"KEY": make_key(*Scope.values), "PATH": os.environ["PATH"], "no_proxy": "*"}
    for operation in OPERATIONS:
        example = operation.example.replace("$LOUPE", live_server.url)
        assert example in page, operation.id
        script = example.replace("curl ", "curl --fail ")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            env=env,
            timeout=60,
            capture_output=True,
        )
        assert done.returncode == 0, (operation.id, done.stdout, done.stderr)
        assert done.stdout or list(tmp_path.glob("*.png")), operation.id


# --- The page ---
def test_page_shows_every_operation_without_login() -> None:
    page = Client().get("/api/docs")

    text = page.content.decode()
    assert page.status_code == 200
    for operation in OPERATIONS:
        assert f'id="{operation.id}"' in text
        assert f'href="#{operation.id}"' in text
        assert operation.path in text
    assert "128 to 2048" in text
    assert "<script" not in text.partition("<main")[2]
    assert (
        Client().post("/api/docs").status_code
        == Client().post("/api/openapi.json").status_code
        == 405
    )


def test_page_is_shown_to_logged_in_people(
    admin: User, client_of: Callable[[User], Client]
) -> None:
    assert b"Base URL" in client_of(admin).get("/api/docs").content


def test_schema_types_and_limits_are_described_in_words() -> None:
    kind = openapi._kind
    assert kind(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    ) == ("string or list of strings")
    assert (
        openapi._demand({"type": "integer", "minimum": 1, "maximum": 8, "default": 2})
        == "1 to 8; default 2"
    )
    assert openapi._demand({"type": "boolean", "default": False}) == "default false"


# --- Conformance of the server ---
@pytest.fixture
def api(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Run the server in this thread and in the transaction of the test.

    The server must therefore not close the database connection after a response.
    """
    settings.CLASSIFIERS = ["sandbox"]
    model = Model(name="alder_v4.safetensors", title="Alder", base_model="SD 1.5", is_sdxl=False)
    monkeypatch.setattr(
        model_catalog,
        "fetch_page",
        lambda question: model_catalog.CatalogPage(models=(model,), asked_at=timezone.now()),
    )
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield schemathesis.openapi.from_wsgi("/api/openapi.json", get_wsgi_application())
    for signal in signals:
        signal.connect(close_old_connections)


schemathesis.checks.load_all_checks()
CHECKS = [
    schemathesis.checks.not_a_server_error,
    schemathesis.checks.CHECKS.get_one("status_code_conformance"),
    schemathesis.checks.CHECKS.get_one("content_type_conformance"),
    schemathesis.checks.CHECKS.get_one("response_schema_conformance"),
]


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", [operation.id for operation in OPERATIONS])
def test_responses_to_generated_requests_match_document(api: Any, name: str, mode: Any) -> None:
    key = make_key(*Scope.values, calls_per_minute=1_000_000)

    @hypothesis.given(api.find_operation_by_id(name).as_strategy(generation_mode=mode))
    @hypothesis.settings(
        derandomize=True,
        max_examples=25,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    def check(case: Any) -> None:
        response = case.call(headers={"Authorization": f"Bearer {key}"})
        case.validate_response(response, checks=CHECKS)

    check()
