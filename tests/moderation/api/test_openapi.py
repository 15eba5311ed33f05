"""The OpenAPI document: valid, complete, true of what the server answers, and readable as a
page.
"""

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
from tests.moderation.api.calls import make_key

openapi_spec_validator = pytest.importorskip("openapi_spec_validator")
schemathesis = pytest.importorskip("schemathesis")
hypothesis = pytest.importorskip("hypothesis")

pytestmark = pytest.mark.django_db
GATE = ("/v1/", "/v3/", "/api/")
# The document itself, its page, and what answers 404 to every address that is not the gate's.
OTHER = {"/api/openapi.json", "/api/docs"}


def document() -> dict[str, Any]:
    answer = Client().get("/api/openapi.json")
    assert answer.status_code == 200
    return dict(answer.json())


def routes(resolver: URLResolver | None = None, prefix: str = "/") -> list[str]:
    found: list[str] = []
    for entry in (resolver or get_resolver()).url_patterns:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLPattern):
            found.append(re.sub(r"<\w+:(\w+)>", r"{\1}", path))
        elif entry.app_name != "admin":
            found += routes(entry, path)
    return found


def test_the_document_is_valid_and_needs_no_key() -> None:
    openapi_spec_validator.validate(document())


def test_every_address_of_the_gate_is_in_it_and_no_other() -> None:
    gate = {path for path in routes() if path.startswith(GATE) and "[" not in path} - OTHER

    assert {re.sub(r"asset_id", "assetId", path) for path in gate} == set(document()["paths"])


def test_it_tells_the_ranges_that_the_code_checks() -> None:
    request = document()["components"]["schemas"]["NovitaRequest"]["properties"]

    assert (request["width"]["minimum"], request["width"]["maximum"]) == RANGES["width"]
    assert (request["prompt"]["minLength"], request["prompt"]["maxLength"]) == RANGES["prompt"]
    assert len(request["sampler_name"]["enum"]) == 20


def test_it_holds_nothing_of_our_own_notes() -> None:
    text = str(document())

    for word in ("Inferred", "our client", "The page is stricter", "sandbox", "$defs"):
        assert word not in text


def test_every_operation_has_all_it_needs() -> None:
    assert len({operation.id for operation in OPERATIONS}) == len(OPERATIONS)
    for operation in OPERATIONS:
        assert operation.about.endswith(".")
        assert "…" not in operation.example


@pytest.mark.django_db(transaction=True)
def test_every_example_runs_as_it_is_pasted(
    live_server: Any,
    settings: Any,
    tmp_path: Path,
    make_asset: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not (shutil.which("curl") and shutil.which("bash")):
        pytest.skip("curl and bash are not installed")
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
def test_the_page_shows_every_operation_to_anybody() -> None:
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


def test_the_page_is_there_for_people_who_are_logged_in_too(
    admin: User, client_of: Callable[[User], Client]
) -> None:
    assert b"Base URL" in client_of(admin).get("/api/docs").content


def test_lists_are_named_as_people_say_them() -> None:
    kind = openapi._kind
    assert kind(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    ) == ("string or list of strings")
    assert (
        openapi._demand({"type": "integer", "minimum": 1, "maximum": 8, "default": 2})
        == "1 to 8; default 2"
    )
    assert openapi._demand({"type": "boolean", "default": False}) == "default false"


# --- The server keeps to it ---
@pytest.fixture
def api(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The server inside this thread and its transaction, so it must not close the connection after
    an answer.
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
def test_what_fits_the_schema_and_what_breaks_it_is_answered_as_documented(
    api: Any, name: str, mode: Any
) -> None:
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
