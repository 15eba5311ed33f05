"""Housekeeping: deletes old rows and files in batches, by one worker at a time."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ
from django_q.models import Task as QueueTask

from generation.models import ApiCall, ApiKey, ImagesOfDay, ImportRun, JobSlot, StorageReport
from moderation import tasks
from moderation.models import Chore, Exposure
from moderation.services import housekeeping
from tests.moderation.page_helpers import ClientOf
from tests.stored import use_directory

pytestmark = pytest.mark.django_db
CREDENTIALS = {
    "ip_address": "127.0.0.1",
    "username": "somebody",
    "user_agent": "",
    "path_info": "/login/",
}


def clean_up() -> None:
    """Run the job once, as the worker's scheduler starts it."""
    housekeeping.add_chores()
    JobSlot.objects.update(running_until=None)
    tasks.clean_up()


def add_log_ins(age: timedelta) -> None:
    at = timezone.now() - age
    for model, extra in (
        (AccessAttempt, {"get_data": "", "post_data": "", "failures_since_start": 1}),
        (AccessFailureLog, {}),
        (AccessLog, {}),
    ):
        row = model.objects.create(**{**CREDENTIALS, "user_agent": str(age)}, **extra)
        model.objects.filter(pk=row.pk).update(attempt_time=at)


def add_rows(user: User, key: ApiKey, age: timedelta) -> None:
    """Create one row of this age in every cleaned table."""
    at = timezone.now() - age
    Session.objects.create(session_key=f"s{age.days}", session_data="", expire_date=at)
    add_log_ins(age)
    ApiCall.objects.create(key=key, method="GET", path="/", status=200, created_at=at)
    ImagesOfDay.objects.create(key=key, day=at.date())
    OrmQ.objects.create(key="loupe", payload="", lock=at)
    QueueTask.objects.create(
        id=f"t{age.days}",
        name="x",
        func="x",
        started=at,
        stopped=at,
        success=False,
        attempt_count=1,
    )
    Exposure.objects.create(user=user, started_at=at)
    ImportRun.objects.create(source="scenario", status="finished", started_at=at, finished_at=at)
    StorageReport.objects.create(host=f"h{age.days}", seen_at=at)


def count_rows() -> dict[str, int]:
    models = (
        Session,
        AccessAttempt,
        AccessFailureLog,
        AccessLog,
        ApiCall,
        ImagesOfDay,
        OrmQ,
        QueueTask,
        Exposure,
        ImportRun,
        StorageReport,
    )
    return {model.__name__: model.objects.count() for model in models}


@pytest.fixture
def key() -> ApiKey:
    return ApiKey.make(name="shop", scopes=["read"])[0]


def test_old_rows_are_deleted_and_new_rows_are_kept(moderator: User, key: ApiKey) -> None:
    add_rows(moderator, key, timedelta(days=100))
    add_rows(moderator, key, timedelta(hours=-1))

    clean_up()

    assert count_rows() == dict.fromkeys(count_rows(), 1)
    assert not Session.objects.filter(expire_date__lt=timezone.now()).exists()
    chores = {chore.name: chore for chore in Chore.objects.all()}
    assert set(chores) == set(housekeeping.CHORES)
    for chore in chores.values():
        assert (chore.error, chore.finished_at is not None) == ("", True)
        assert chore.due_at > timezone.now() + housekeeping.INTERVAL / 2
    assert chores["sessions"].deleted == 1
    assert chores["log-in attempts"].deleted == 3


def test_old_temporary_files_are_deleted(
    settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_directory(monkeypatch, settings, tmp_path)
    folder = tmp_path / "tmp"
    folder.mkdir()
    for name, age in (("old.part", 7200), ("new.part", 0)):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (time.time() - age,) * 2)

    clean_up()

    assert [path.name for path in folder.iterdir()] == ["new.part"]


def test_housekeeping_keeps_active_sessions(client_of: ClientOf, moderator: User) -> None:
    browser = client_of(moderator)
    clean_up()

    assert browser.get("/").status_code == 200


def test_interrupted_run_is_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "BATCH", 2)
    for number in range(7):
        Session.objects.create(
            session_key=f"s{number}", session_data="", expire_date=timezone.now()
        )
    housekeeping.add_chores()
    Chore.objects.exclude(name="sessions").delete()
    answers = iter([True, True, False, False])

    housekeeping.run_due_chores(go_on=lambda: next(answers))

    chore = Chore.objects.get()
    assert (Session.objects.count(), chore.deleted, chore.finished_at) == (3, 4, None)
    assert chore.due_at is not None
    assert chore.due_at <= timezone.now()
    answers = iter([True] * 9)
    housekeeping.run_due_chores(go_on=lambda: next(answers))
    chore.refresh_from_db()
    assert (Session.objects.count(), chore.deleted, chore.finished_at is None) == (0, 7, False)


def test_running_chore_is_not_started_by_another_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []

    def delete(limit: int) -> int:
        runs.append("here")
        if len(runs) == 1:
            housekeeping.run_due_chores(go_on=lambda: True)  # another worker at the same time
        return 0

    monkeypatch.setattr(housekeeping, "CHORES", {"sessions": delete})
    clean_up()

    assert runs == ["here"]


def test_failing_chore_is_shown_and_does_not_stop_others(
    monkeypatch: pytest.MonkeyPatch, client_of: ClientOf, admin: User
) -> None:
    def fail(limit: int) -> int:
        raise RuntimeError("The table is locked.")

    client: Client = client_of(admin)
    assert "Housekeeping" not in client.get("/").content.decode()
    monkeypatch.setitem(housekeeping.CHORES, "exposure", fail)
    Session.objects.create(
        session_key="old", session_data="", expire_date=timezone.now() - timedelta(days=1)
    )
    clean_up()

    assert not Session.objects.filter(session_key="old").exists()
    page = client.get("/").content.decode()
    assert "Housekeeping" in page
    assert '<span class="muted">exposure;</span>' in page
    assert (
        Chore.objects.get(name="exposure").error
        == "It failed (RuntimeError); see the worker's log."
    )
    monkeypatch.undo()
    Chore.objects.update(due_at=timezone.now())
    clean_up()
    assert not Chore.objects.exclude(error="").exists()


def test_unknown_chore_is_deleted(settings: Any) -> None:
    Chore.objects.create(name="something else", due_at=timezone.now())
    clean_up()

    assert not Chore.objects.filter(name="something else").exists()
