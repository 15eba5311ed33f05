"""Faults that a process sends to Sentry, as a real receiver gets them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.config.receivers import receive

KEY = "novita-key-that-no-report-may-show"
SIGNATURE = "CANARYSIGNATURE0123456789"
SCRIPT = f"""
import logging

import django
from django.conf import settings

plain = {{"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
settings.STORAGES = {{**settings.STORAGES, "staticfiles": plain}}
django.setup()
import psycopg
import sentry_sdk
from django.db import OperationalError
from django.test import Client
from django.urls import path

from generation.core.log_context import bound_contextvars
import config.urls


def fail(request):
    prompt = "a canary in a prompt"
    raise ValueError("refused: {KEY} for https://x.test/a.png?X-Amz-Signature={SIGNATURE}")


fail.login_required = False
config.urls.urlpatterns.insert(0, path("fail/", fail, name="home-fail"))
browser = Client(raise_request_exception=False, headers={{"Cookie": "sessionid=canary-session"}})
answer = browser.post("/fail/?q=canary-search", {{"field": "canary-body"}})
assert answer.status_code in (403, 500), answer.status_code
answer = browser.get("/fail/?q=canary-search", headers={{"X-Forwarded-For": "203.0.113.77"}})
assert answer.status_code == 500
print(answer["X-Request-ID"])
assert browser.get("/login/", headers={{"Host": "forged.example"}}).status_code == 400
with bound_contextvars(job="statistics", run="abc"):
    try:
        raise RuntimeError("a fault of a job")
    except RuntimeError:
        logging.getLogger("loupe.jobs").exception("The job %s failed", "statistics")
try:
    try:
        raise psycopg.OperationalError("connection refused")
    except psycopg.OperationalError as error:
        raise OperationalError("away") from error
except OperationalError:
    logging.getLogger("loupe.jobs").exception("An outage")
sentry_sdk.flush(10)
"""


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[dict[str, Any]]]:
    """Return the id of the failed request, and the events that the receiver got."""
    with receive() as receiver:
        variables = {
            "PATH": os.environ["PATH"],
            "DATA_DIR": str(tmp_path_factory.mktemp("sentry")),
            "SECRET_KEY": "only-for-tests-" + "k" * 40,
            "NOVITA_API_KEY": KEY,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "ALLOWED_HOSTS": "testserver",
            "SENTRY_DSN": receiver.url.replace("http://", "http://public@") + "/1",
        }
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=variables,
            capture_output=True,
            text=True,
            cwd=Path(__file__).resolve().parents[2],
        )
        assert done.returncode == 0, done.stderr
    events = []
    for path, content in receiver.calls:
        assert path == "/api/1/envelope/"
        lines = content.splitlines()
        for head, body in zip(lines[1::2], lines[2::2], strict=False):
            if json.loads(head).get("type") == "event":
                events.append(json.loads(body))
    return done.stdout.strip(), events


def test_fault_of_a_page_is_reported_with_its_request_id(
    reports: tuple[str, list[dict[str, Any]]],
) -> None:
    request_id, events = reports

    found = [event for event in events if event["tags"].get("request_id") == request_id]

    assert found
    assert found[0]["exception"]["values"][-1]["type"] == "ValueError"
    assert found[0]["tags"]["route"] == "home-fail"


def test_fault_of_a_job_is_reported_with_its_run_and_an_outage_is_not(
    reports: tuple[str, list[dict[str, Any]]],
) -> None:
    _, events = reports

    types = [event["exception"]["values"][-1]["type"] for event in events]
    (of_job,) = [event for event in events if event["tags"].get("job") == "statistics"]

    assert of_job["tags"]["run"] == "abc"
    assert "OperationalError" not in types


def test_forged_host_is_no_fault(reports: tuple[str, list[dict[str, Any]]]) -> None:
    loggers = {event.get("logger", "") for event in reports[1]}

    assert "loupe.jobs" in loggers
    assert not any(name.startswith("django.security") for name in loggers)


def test_reports_hold_no_secret_and_nothing_that_was_sent(
    reports: tuple[str, list[dict[str, Any]]],
) -> None:
    text = json.dumps(reports[1])

    assert "refused: [key] for https://x.test/a.png" in text
    for secret in (KEY, SIGNATURE, "canary", "203.0.113.77", "only-for-tests"):
        assert secret not in text, secret
