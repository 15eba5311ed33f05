"""Planted keys, signatures, webhook secrets and passwords ("canaries").

The tests run everything and search pages, log and database for them.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import NoReverseMatch, reverse

from config.log_filters import RedactSecrets, redact
from generation import providers, tasks
from generation.models import GenerationRequest, RemoteImage
from generation.providers.novita.client import Novita
from generation.services import requests as service
from moderation import tasks as moderation_tasks
from tests.generation.pipeline_helpers import make_everything_due

pytestmark = pytest.mark.django_db(transaction=True)

KEY, NANO_KEY = "sk_canary_novita_0123456789", "sk_canary_nanogpt_0123456789"
VLM_KEY = "sk_canary_vision_0123456789"
AWS_SECRET, AWS_TOKEN = "canary_aws_secret_0123456789", "canary_aws_token_0123456789"
OPENAI_KEY = "sk_canary_openai_0123456789"
HMA_KEY = "canary-hma-0123456789"
SCENARIO_KEY, SCENARIO_SECRET = "api_canary_scenario_01234", "secret_canary_scenario_01234"
PASSWORD, SIGNATURE = "canary battery staple 1", "CANARYSIGNATURE0123456789"
SIGNED = f"https://10.0.0.1/bucket/a.png?X-Amz-Expires=3600&X-Amz-Signature={SIGNATURE}"
FIELDS = {
    "model_name": "m",
    "prompt": "a harbour",
    "width": 128,
    "height": 128,
    "image_num": 2,
    "steps": 20,
    "guidance_scale": "7.5",
    "sampler_name": "Euler a",
    "seed": 5,
    "response_image_type": "png",
    "enable_nsfw_detection": True,
    "nsfw_detection_level": 1,
}


def rude(request: httpx.Request) -> httpx.Response:
    """Return a provider's response that quotes all secrets of the request."""
    said = f"no: Bearer {KEY} for {SIGNED}"
    if request.method == "POST":
        body = json.loads(request.content)
        prompt, webhook = body["request"]["prompt"], body["extra"]["webhook"]["url"]
        if prompt.startswith("http"):
            return httpx.Response(
                int(prompt[4:7]), json={"reason": f"BAD_{KEY}", "message": f"{said} {webhook}"}
            )
        if prompt == "garbage":
            return httpx.Response(200, text=f"<p>{said} {webhook}")
        return httpx.Response(200, json={"task_id": prompt, "note": f"{said} {webhook}"})
    task_id = request.url.params.get("task_id", "broken")
    task = {"task_id": task_id, "status": "TASK_STATUS_SUCCEED", "reason": said}
    answer: dict[str, Any] = {
        "task": task,
        "images": [{"image_url": SIGNED}],
        "extra": {"debug_info": {}},
    }
    answer["extra"]["debug_info"]["request_info"] = json.dumps({"key": KEY, "init": SIGNED})
    if task_id in ("failed", "odd"):
        task["status"] = "TASK_STATUS_FAILED" if task_id == "failed" else SIGNED
    if task_id == "unreadable":
        answer["images"] = {"of": SIGNED, "key": KEY}
    if task_id == "broken":
        return httpx.Response(503, json={"message": said})
    return httpx.Response(200, json=answer)


@pytest.fixture
def canaries(
    live_server: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[set[str]]:
    """Configure providers with canaries as keys.

    The returned set also receives the webhook secrets that are created during the test.
    """
    here = live_server.url
    backend = {"BACKEND": "generation.providers.novita.client.Novita", "webhooks": True}
    options = {"api_key": KEY, "label": "Novita"}
    settings.PUBLIC_URL = here
    settings.FETCH_ALLOW = [here.removeprefix("http://")]
    settings.IMAGE_PROVIDERS = {
        "novita": {**backend, "OPTIONS": {**options, "base_url": f"{here}/sandbox/novita"}},
        "rude": {**backend, "OPTIONS": {**options, "base_url": "https://rude.test"}},
    }
    settings.NANOGPT = {
        "api_key": NANO_KEY,
        "base_url": f"{here}/sandbox/nano-gpt",
        "label": "nano-gpt",
    }
    settings.VLM = {
        "api_key": VLM_KEY,
        "base_url": f"{here}/nowhere",
        "label": "Vision model",
        "model": "qwen",
    }
    settings.REKOGNITION = {
        "access_key_id": "AKIDEXAMPLE",
        "secret_access_key": AWS_SECRET,
        "session_token": AWS_TOKEN,
        "region": "eu-west-1",
        "base_url": f"{here}/nowhere",
        "label": "Rekognition",
    }
    settings.OPENAI = {
        "api_key": OPENAI_KEY,
        "base_url": f"{here}/nowhere",
        "label": "OpenAI moderation",
    }
    settings.HMA = {
        "api_key": HMA_KEY,
        "base_url": f"{here}/nowhere",
        "label": "Hasher-Matcher-Actioner",
    }
    settings.SCENARIO = {
        "api_key": SCENARIO_KEY,
        "api_secret": SCENARIO_SECRET,
        "base_url": f"{here}/nowhere",
        "label": "Scenario",
    }
    settings.CLASSIFIERS = ["novita", "sandbox"]
    providers.get_provider.cache_clear()
    provider = providers.get_provider("rude")
    assert isinstance(provider, Novita)
    provider.use_transport(httpx.MockTransport(rude))
    planted = {KEY, NANO_KEY, VLM_KEY, SCENARIO_KEY, SCENARIO_SECRET, PASSWORD, SIGNATURE}
    planted |= {AWS_SECRET, AWS_TOKEN, OPENAI_KEY, HMA_KEY}
    submit = Novita.submit

    def note(self: Novita, submission: Any, **rest: Any) -> str:
        planted.add(submission.webhook_url.rpartition("/")[2])
        return submit(self, submission, **rest)

    monkeypatch.setattr(Novita, "submit", note)
    yield planted
    providers.get_provider.cache_clear()


@pytest.fixture
def printed() -> Iterator[io.StringIO]:
    """Collect the output of Loupe's log handler, from every logger."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RedactSecrets())
    loggers = [logging.getLogger(name) for name in ("", "django", "django.server")]
    for logger in loggers:
        logger.addHandler(handler)
    yield stream
    for logger in loggers:
        logger.removeHandler(handler)


def run(rounds: int = 2) -> None:
    for _ in range(rounds):
        for step in (
            tasks.submit,
            tasks.reconcile,
            tasks.poll,
            tasks.fetch,
            moderation_tasks.classify,
        ):
            step()
        make_everything_due()


def ask(provider: str, prompt: str) -> GenerationRequest:
    fields = {**FIELDS, "prompt": prompt}
    return service.create_request(user=None, provider=provider, fields=fields)[0]


def note_signatures(canaries: set[str]) -> None:
    for url in RemoteImage.objects.exclude(url="").values_list("url", flat=True):
        canaries |= set(parse_qs(urlsplit(url).query).get("X-Amz-Signature", []))


def go_through_everything(canaries: set[str]) -> None:
    for word in (
        "",
        "sandbox:lost",
        "sandbox:expired",
        "sandbox:fail",
        "sandbox:corrupt",
        "sandbox:reject",
    ):
        ask("novita", f"a harbour {word}")
    # Five failures in a row would pause the provider, so other results are between them.
    for prompt in (
        "http400",
        "failed",
        "http403",
        "odd",
        "http500",
        "unreadable",
        "garbage",
        "broken",
        "http429",
        "blocked",
    ):
        ask("rude", prompt)
    tasks.submit()
    tasks.poll()
    note_signatures(canaries)
    run(rounds=7)
    ask("novita", "an image that nobody fetches")
    tasks.submit()
    tasks.poll()
    note_signatures(canaries)


def browse() -> Iterator[tuple[str, str]]:
    """Yield the path and content of every page that could show a secret, for a superuser."""
    client = Client()
    assert client.post(
        reverse("account_login"), {"username": "ada", "password": PASSWORD + "x"}
    ).status_code in (200, 401, 403)
    assert (
        client.post(reverse("account_login"), {"username": "ada", "password": PASSWORD}).status_code
        == 302
    )
    for slug in ("novita", "rude", "nanogpt", "vlm", "rekognition", "openai", "hma", "scenario"):
        client.post(reverse("provider-check", args=[slug]))
    paths = [
        reverse(name)
        for name in (
            "home",
            "providers",
            "generation:request-list",
            "moderation:queue-list",
            "moderation:decision-list",
            "admin:index",
        )
    ]
    paths += [request.get_absolute_url() for request in GenerationRequest.objects.all()]
    paths += [
        request.get_absolute_url() + "?images=shown"
        for request in GenerationRequest.objects.all()[:2]
    ]
    for request in GenerationRequest.objects.prefetch_related("assets__review"):
        paths += [asset.review.get_absolute_url() for asset in request.assets.all()]
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        paths.append(reverse(f"{name}_changelist"))
        for key in model._default_manager.values_list("pk", flat=True)[:60]:
            try:
                paths.append(reverse(f"{name}_change", args=[key]))
            except NoReverseMatch:
                break
    for path in [
        *paths,
        reverse("moderation:decisions-csv"),
        f"{reverse('moderation:images-jsonl')}?evidence=1",
        "/webhooks/novita/not-a-secret",
        "/nowhere",
    ]:
        response = client.get(path)
        content = b"".join(response) if response.streaming else response.content
        assert response.status_code in (200, 302, 403, 404, 405), path
        yield path, content.decode() + str(response.headers)


def whole_database() -> Iterator[tuple[str, str]]:
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            columns = [column[0] for column in cursor.description or ()]
            for row in cursor.fetchall():
                for column, value in zip(columns, row, strict=True):
                    text = (
                        bytes(value).decode("latin-1")
                        if isinstance(value, bytes | memoryview)
                        else str(value)
                    )
                    yield f"{table}.{column}", text


def test_secrets_appear_on_no_page_in_no_log_and_in_one_column_only(
    canaries: set[str], caplog: pytest.LogCaptureFixture, printed: io.StringIO
) -> None:
    caplog.set_level(logging.DEBUG, logger="loupe")
    User.objects.create_superuser("ada", password=PASSWORD)
    go_through_everything(canaries)
    assert len(canaries) > 20, "signatures and webhook secrets were made up and are looked for too"

    def found(text: str) -> set[str]:
        return {canary for canary in canaries if canary in text}

    pages = list(browse())
    assert len(pages) > 60
    assert [(path, found(text)) for path, text in pages if found(text)] == []
    assert any(
        path.endswith(".csv") and len(list(csv.reader(io.StringIO(text)))) for path, text in pages
    )
    waiting = [(place, found(text)) for place, text in whole_database() if found(text)]
    assert {place for place, _ in waiting} == {"generation_remoteimage.url"}
    assert RemoteImage.objects.exclude(url="").filter(status="waiting").count() == 2
    assert found(caplog.text) == set()
    assert found(printed.getvalue()) == set()
    assert "loupe" in printed.getvalue() or "Not Found" in printed.getvalue()


def test_redacted_error_messages_stay_understandable(canaries: set[str]) -> None:
    """Redaction must keep messages readable for people."""
    go_through_everything(canaries)
    told = {
        request.prompt: request.error
        for request in GenerationRequest.objects.filter(provider="rude")
    }
    assert told["http403"].startswith(
        "Novita refused the request because of Loupe's own settings or account."
    )
    assert "It said: no: Bearer [key] for https://10.0.0.1/bucket/a.png" in told["http403"]
    assert "/webhooks/novita/[redacted]" in told["http400"]
    assert told["failed"] == "no: Bearer [key] for https://10.0.0.1/bucket/a.png"
    assert "could be stored. Image 1: " in told["blocked"]
    kept = GenerationRequest.objects.get(prompt="unreadable").result
    assert kept["images"] == {"of": "https://10.0.0.1/bucket/a.png", "key": "[key]"}


@pytest.mark.parametrize(
    "text",
    [
        f"GET {SIGNED} failed",
        f"{{'url': '{SIGNED}'}}",
        f"Authorization: Bearer {SIGNATURE}",
        f"x-api-key: {SIGNATURE}",
        f"POST /webhooks/novita/{SIGNATURE} HTTP/1.1",
        f"Forbidden: /v3/images/{SIGNATURE}.png",
        f"Cookie: __Host-sessionid={SIGNATURE}; csrftoken={SIGNATURE}",
        f"https://cdn.test/a?Policy={SIGNATURE}&Signature={SIGNATURE}&Key-Pair-Id={SIGNATURE}",
    ],
)
def test_redact_removes_everything_that_looks_like_a_secret(text: str) -> None:
    assert SIGNATURE not in redact(text)
    assert re.search(r"\w", redact(text))


def test_traceback_in_the_log_is_redacted(printed: io.StringIO) -> None:
    try:
        raise RuntimeError(f"cannot open {SIGNED}")
    except RuntimeError:
        logging.getLogger("loupe.test").exception("it broke at %s", SIGNED)
    assert "RuntimeError" in printed.getvalue()
    assert SIGNATURE not in printed.getvalue()
