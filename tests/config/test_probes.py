from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from config import probes
from generation.models import JobSlot

pytestmark = pytest.mark.django_db
SILENT = "No worker has reported in the last minute. Start one: qworker."
WELL = {
    "server": "ok",
    "database": "ok",
    "migrations": "ok",
    "queue": "ok",
    "storage": "ok",
    "disk": "ok",
    "workers": SILENT,
}


@pytest.fixture(autouse=True)
def _forget_migrations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(probes.CHECKS, "migrations", probes.MigrationCheck())


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_answer_any_host_over_http_without_redirect(path: str, settings: Any) -> None:
    settings.ALLOWED_HOSTS, settings.SECURE_SSL_REDIRECT = ["loupe.example"], True

    answer = Client(headers={"Host": "10.1.2.3:8000"}).get(path)

    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    assert Client(headers={"Host": "10.1.2.3:8000"}).get("/login/").status_code == 400
    assert Client().post(path).status_code == 405


def test_readyz_reads_the_migrations_only_until_they_are_complete(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    recorder = MigrationRecorder(connection)
    newest = MigrationLoader(connection).graph.leaf_nodes("moderation")[0]
    recorder.record_unapplied(*newest)
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["migrations"]) == (503, "missing")
    assert answer["Retry-After"]
    recorder.record_applied(*newest)
    assert Client().get("/readyz").json() == WELL

    with django_assert_num_queries(3):
        assert Client().get("/readyz").json() == WELL


def test_readyz_names_a_full_disk_and_silent_workers_without_failing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    later = timezone.now() + JobSlot.LEASE
    JobSlot.objects.create(name=JobSlot.WORKER, host="one", running_until=later)
    assert Client().get("/readyz").json()["workers"] == "ok"
    JobSlot.objects.update(running_until=timezone.now() - JobSlot.LEASE)
    monkeypatch.setattr(probes, "DISK_FREE_MIN", 10**18)

    answer = Client().get("/readyz")

    assert (answer.status_code, answer.json()["workers"]) == (200, SILENT)
    assert "MiB are free in" in answer.json()["disk"]


@pytest.mark.parametrize(
    ("check", "word"),
    [
        (lambda: "full", "full"),
        (lambda: 1 / 0, "failed"),
    ],
)
def test_readyz_names_the_failed_check(
    check: Callable[[], str], word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(probes.CHECKS, "fuse", check)

    answer = Client().get("/readyz")

    assert (answer.status_code, answer.json()) == (503, {**WELL, "fuse": word})


def test_readyz_returns_503_without_a_database_and_healthz_200(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: object) -> None:
        raise OperationalError("connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "cursor", refuse)
        answer = Client().get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["database"] == "unreachable"
    assert Client().get("/healthz").status_code == 200
