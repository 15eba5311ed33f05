"""Ids of requests and runs: in answers, on error pages, and in the log."""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from config.log_filters import RedactSecrets
from config.log_formats import make_formatter
from generation import jobs
from generation.core.log_context import bound_contextvars
from moderation.models import Classification

pytestmark = pytest.mark.django_db
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
GIVEN = "4bf92f3577b34da6a3ce929d0e0e4736"
Records = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def records() -> Iterator[Records]:
    """Return a function that returns the records that Loupe has logged as JSON."""
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RedactSecrets())
    handler.setFormatter(make_formatter("json"))
    loggers = [logging.getLogger(name) for name in ("loupe", "django")]
    for logger in loggers:
        logger.addHandler(handler)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    for logger in loggers:
        logger.removeHandler(handler)


def test_answer_has_an_id_of_its_own() -> None:
    first, second = Client().get("/login/"), Client().get("/login/")

    assert re.fullmatch(UUID, first["X-Request-ID"])
    assert first["X-Request-ID"] != second["X-Request-ID"]


@pytest.mark.parametrize(
    ("address", "forwarded", "given", "is_kept"),
    [
        ("127.0.0.1", "203.0.113.9", GIVEN, True),
        ("203.0.113.9", "203.0.113.9", GIVEN, False),  # not from the proxy
        ("127.0.0.1", None, GIVEN, False),  # past the proxy
        ("127.0.0.1", "203.0.113.9", "short", False),
        ("127.0.0.1", "203.0.113.9", "x" * 65, False),
        ("127.0.0.1", "203.0.113.9", "with\nnewline-and-more", False),
        ("127.0.0.1", "203.0.113.9", '{"level":"CRITICAL"}', False),
    ],
)
def test_only_a_trusted_proxy_chooses_the_id(
    address: str, forwarded: str | None, given: str, is_kept: bool
) -> None:
    headers = {"X-Request-ID": given}
    if forwarded:
        headers["X-Forwarded-For"] = forwarded

    answer = Client(REMOTE_ADDR=address).get("/login/", headers=headers)

    assert (answer["X-Request-ID"] == given) is is_kept


def test_missing_page_logs_request_id_and_path(records: Records) -> None:
    answer = Client().get("/no/such/page")

    (found,) = [record for record in records() if record["logger"] == "django.request"]
    assert found["request_id"] == answer["X-Request-ID"]
    assert found["status_code"] == 404
    assert not {"request", "user_id", "ip"} & set(found)


def test_fault_shows_its_id_on_the_page_and_in_the_log(
    records: Records, monkeypatch: Any, client_of: Any, moderator: User
) -> None:
    monkeypatch.setattr("moderation.views.dashboard.build_dashboard", lambda *_, **__: 1 / 0)
    browser = client_of(moderator)
    browser.raise_request_exception = False

    answer = browser.get("/")

    assert answer.status_code == 500
    request_id = answer["X-Request-ID"]
    assert request_id in answer.content.decode()
    (found,) = [record for record in records() if record["level"] == "ERROR"]
    assert (found["request_id"], found["route"]) == (request_id, "home")
    assert "ZeroDivisionError" in found["exc_info"]


def test_fault_of_an_api_call_names_its_id(monkeypatch: Any, client: Client) -> None:
    monkeypatch.setattr("moderation.api.auth._authenticate_call", lambda *_, **__: 1 / 0)

    answer = client.get(
        "/v3/async/task-result", {"task_id": "x"}, headers={"Authorization": "Bearer k"}
    )

    assert answer.status_code == 500
    assert answer["X-Request-ID"] in answer.content.decode()


def test_id_in_the_path_is_bound_to_the_log(
    records: Records, client_of: Any, moderator: User
) -> None:
    number = str(uuid.uuid4())

    client_of(moderator).get(f"/reviews/{number}/")

    (found,) = [record for record in records() if record["logger"] == "django.request"]
    assert (found["route"], found["uuid"]) == ("moderation:review-detail", number)


def test_run_of_a_job_logs_its_name_and_id(records: Records, monkeypatch: Any) -> None:
    def fail(run: Any) -> None:
        raise ValueError("a fault of the job")

    for name in ("housekeeping", "statistics"):
        monkeypatch.setattr(jobs.find(name), "function", fail)
        jobs.find(name)()
    logging.getLogger("loupe.tests").warning("outside of a run")

    first, second, outside = records()
    assert (first["job"], second["job"]) == ("housekeeping", "statistics")
    assert first["run"] != second["run"]
    assert "ValueError" in first["exc_info"]
    assert not {"job", "run", "request_id"} & set(outside)


def test_classification_logs_its_image(
    records: Records, make_asset: Any, settings: Any, monkeypatch: Any
) -> None:
    settings.CLASSIFIERS = []
    asset = make_asset()
    Classification.objects.create(
        asset=asset, classifier="sandbox", version="1", due_at=timezone.now()
    )

    def log_and_leave(*, classification: Classification, picture: Any) -> None:
        logging.getLogger("loupe.tests").warning("classifying")

    monkeypatch.setattr("moderation.tasks.classification.classify", log_and_leave)
    jobs.find("classify")()

    found = [record for record in records() if record["message"] == "classifying"]
    assert found
    assert {record["asset_uuid"] for record in found} == {str(asset.uuid)}
    assert {record["job"] for record in found} == {"classify"}


def test_bound_values_are_redacted(records: Records) -> None:
    with bound_contextvars(url=f"https://x.test/a?X-Amz-Signature={'S' * 30}"):
        logging.getLogger("loupe.tests").warning("with a bound URL")

    assert "SSSS" not in json.dumps(records())


@pytest.mark.parametrize("style", ["line", "json"])
def test_both_formats_show_the_same_ids(style: str) -> None:
    record = logging.makeLogRecord(
        {"name": "loupe.tests", "levelname": "WARNING", "msg": "words of %s", "args": ("a log",)}
    )

    with bound_contextvars(request_id=GIVEN, job="poll"):
        text = make_formatter(style).format(record)

    assert all(part in text for part in ("loupe.tests", "words of a log", GIVEN, "poll"))
    assert "\n" not in text


def test_every_handler_uses_one_of_these_formats() -> None:
    formatters = django_settings.LOGGING["formatters"].values()

    assert {each["()"] for each in formatters} == {"config.log_formats.make_formatter"}
