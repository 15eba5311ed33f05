"""Responses and log lines while the database or Redis is unavailable."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import InterfaceError, OperationalError, connection
from django.test import Client
from redis.exceptions import ConnectionError as RedisConnectionError

from config import outage_logs
from config.outage_logs import FoldOutages
from generation.core.outages import Outage, find_outage
from generation.models import ApiCall, ApiKey, Scope

AWAY = "connection to server failed: Connection refused"


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("some text")
    error.sqlite_errorcode = code
    return error


class Away:
    """A context manager in which every SQL statement fails as if the server were stopped."""

    def __init__(self) -> None:
        self.error: Exception = caused(OperationalError(AWAY), psycopg.OperationalError(AWAY))

    def __call__(self, execute: Callable[..., Any], *args: Any) -> Any:
        raise self.error

    def __enter__(self) -> None:
        self._wrapper = connection.execute_wrapper(self)
        self._wrapper.__enter__()

    def __exit__(self, *error: object) -> None:
        self._wrapper.__exit__(*error)


@pytest.mark.parametrize(
    ("error", "outage"),
    [
        (caused(OperationalError(), psycopg.OperationalError(AWAY)), Outage.DATABASE),
        (caused(OperationalError(), psycopg.errors.AdminShutdown()), Outage.DATABASE),
        (caused(OperationalError(), psycopg.errors.TooManyConnections()), Outage.DATABASE),
        (caused(OperationalError(), psycopg.errors.DeadlockDetected()), Outage.DATABASE),
        (
            caused(InterfaceError(), psycopg.InterfaceError("the connection is closed")),
            Outage.DATABASE,
        ),
        (caused(OperationalError(), sqlite_error(sqlite3.SQLITE_BUSY)), Outage.DATABASE),
        (caused(OperationalError(), sqlite_error(sqlite3.SQLITE_FULL)), Outage.DATABASE),
        (caused(OperationalError(), sqlite_error(sqlite3.SQLITE_IOERR_READ)), Outage.DATABASE),
        (caused(OperationalError(), sqlite_error(sqlite3.SQLITE_ERROR)), None),  # no such table
        (RedisConnectionError(), Outage.REDIS),
        (caused(ValueError(), RedisConnectionError()), Outage.REDIS),
        (ValueError(), None),
        (None, None),
    ],
)
def test_find_outage_separates_outages_from_other_errors(
    error: Exception | None, outage: Outage | None
) -> None:
    assert find_outage(error) is outage


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/", "/queues/", "/decisions/"])
def test_page_returns_503_with_retry_after_during_an_outage(path: str, moderator: User) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(moderator)

    with Away():
        answer = client.get(path)

    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0
    assert "no-store" in answer["Cache-Control"]
    assert "Not available right now" in answer.text
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert client.get(path).status_code == 200


@pytest.mark.django_db
def test_htmx_gets_a_plain_text_message_during_an_outage(moderator: User) -> None:
    client = Client(raise_request_exception=False, headers={"HX-Request": "true"})
    client.force_login(moderator)

    with Away():
        answer = client.get("/queues/")

    assert (answer.status_code, answer["Content-Type"]) == (503, "text/plain")
    assert "cannot reach its database" in answer.text
    assert answer["Retry-After"]


@pytest.mark.django_db
def test_log_in_without_database_and_page_without_redis_return_503(
    moderator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(raise_request_exception=False)
    with Away():
        assert client.post("/login/", {"username": "ada", "password": "x"}).status_code == 503

    def refuse(*args: object, **options: object) -> None:
        raise RedisConnectionError("Error 111 connecting to localhost:6379. Connection refused.")

    monkeypatch.setattr("moderation.views.dashboard.build_dashboard", refuse)
    client.force_login(moderator)
    assert client.get("/").status_code == 503


@pytest.mark.django_db
def test_sql_error_returns_500(moderator: User) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(moderator)
    away = Away()
    away.error = caused(OperationalError("no such table"), sqlite_error(sqlite3.SQLITE_ERROR))

    with away:
        answer = client.get("/")

    assert answer.status_code == 500
    assert "Something went wrong" in answer.text


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v3/model", {"code": 503, "reason": "SERVICE_UNAVAILABLE"}),
        ("/v1/assets", {"error": "Service Unavailable"}),
        ("/api/nsfw/image", {}),
    ],
)
def test_api_returns_503_in_the_format_of_each_provider(path: str, body: dict[str, Any]) -> None:
    client = Client(headers={"Authorization": "Bearer some-key"})

    with Away():
        answer = client.get(path)

    assert (answer.status_code, answer["Content-Type"]) == (503, "application/json")
    assert answer["Retry-After"]
    assert body.items() <= answer.json().items()
    assert "cannot reach its database" in answer.text


@pytest.mark.django_db
def test_api_response_is_kept_when_recording_the_call_fails(
    admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work is committed. After a 500, a program would send the request again and pay twice."""
    _, key = ApiKey.make(name="x", owner=admin, scopes=[Scope.READ])

    def refuse(**fields: object) -> None:
        raise caused(OperationalError(AWAY), psycopg.OperationalError(AWAY))

    monkeypatch.setattr(ApiCall.objects, "create", refuse)

    assert Client(headers={"Authorization": f"Bearer {key}"}).get("/v1/assets").status_code == 200


# --- The log ---


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(outage_logs, "time", clock)
    return clock


@pytest.fixture
def lines(clock: Clock) -> Iterator[list[str]]:
    """Collect the lines that a handler with the filter prints, tracebacks included."""
    found: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.extend(self.format(record).splitlines())

    handler = Kept()
    handler.addFilter(FoldOutages())
    loggers = [logging.getLogger(name) for name in ("loupe.jobs", "django-q", "django.request")]
    for logger in loggers:
        logger.addHandler(handler)
    yield found
    for logger in loggers:
        logger.removeHandler(handler)


def fail(error: Exception, text: str = "The job %s failed") -> None:
    try:
        raise error
    except type(error):
        logging.getLogger("loupe.jobs").exception(text, "poll")


def test_outage_is_logged_in_one_line_a_minute(lines: list[str], clock: Clock) -> None:
    for _ in range(100):
        fail(
            caused(
                OperationalError(f"{AWAY}\nIs the server running?"), psycopg.OperationalError(AWAY)
            )
        )
    assert lines == [f"The job poll failed: OperationalError: {AWAY} Is the server running?"]

    fail(RedisConnectionError("Connection refused."))
    assert len(lines) == 2, "another outage has a line of its own"
    clock.now += 61
    fail(caused(OperationalError(AWAY), psycopg.OperationalError(AWAY)))
    assert (
        lines[2]
        == f"The job poll failed: OperationalError: {AWAY} (99 more like it since the last such"
        " line)"
    )


def test_queue_logs_an_outage_and_its_consequences_once(lines: list[str], clock: Clock) -> None:
    queue = logging.getLogger("django-q")
    queue.error("reincarnated pusher 17 after sudden death")
    assert len(lines) == 1, "without an outage it is an event"
    for _ in range(50):
        queue.error(
            RedisConnectionError("Error 111 connecting to localhost:6379. Connection refused.")
        )
        queue.error("reincarnated pusher 18 after sudden death")
    assert lines[1:] == ["Error 111 connecting to localhost:6379. Connection refused."]


def test_other_errors_are_logged_with_every_traceback(lines: list[str]) -> None:
    fail(ZeroDivisionError("x"))
    fail(ZeroDivisionError("x"))

    assert lines.count("ZeroDivisionError: x") == 2
    assert lines.count("Traceback (most recent call last):") == 2


def test_processes_of_one_worker_log_an_outage_once(clock: Clock) -> None:
    folded = FoldOutages()
    record = logging.LogRecord(
        "django-q", logging.ERROR, "", 1, RedisConnectionError("refused"), None, None
    )
    child = os.fork()
    if child == 0:
        os._exit(0 if folded.filter(record) else 1)
    assert os.waitpid(child, 0)[1] == 0, "the first to notice says so"

    assert not folded.filter(record)
