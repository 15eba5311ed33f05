"""The page Storage: the scan by the job, orphans, growth and the forecast."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.storage import storages
from django.utils import timezone

from generation.models import JobSlot, StorageReport
from moderation import tasks
from moderation.models import Review, StorageScan, StorageUsage
from moderation.services import housekeeping, storage_usage
from tests.moderation.page_helpers import ClientOf
from tests.stored import use_directory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _directory(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Begin with an empty directory, where files can be given an age, and a disk has an end."""
    use_directory(monkeypatch, settings, tmp_path)


def run() -> None:
    JobSlot.objects.update(running_until=None)
    tasks.clean_up()


def add_usage(days_ago: int, size: int) -> None:
    day = timezone.now().date() - timedelta(days=days_ago)
    StorageUsage.objects.create(day=day, kind="renditions", files=1, bytes=size)


def test_job_measures_files_by_kind_and_counts_old_orphans(
    make_review: Callable[..., Review],
) -> None:
    assets = [make_review().asset for _ in range(2)]
    folder = Path(storages["assets"].location) / "renditions" / "ab"
    folder.mkdir(parents=True, exist_ok=True)
    for name, age in (("ab" * 32 + ".png", 7200), ("ab" * 31 + "cd.png", 0)):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (time.time() - age,) * 2)
    housekeeping.add_chores()

    run()

    rows = {row.kind: row for row in StorageUsage.objects.all()}
    assert (rows["renditions"].files, rows["renditions"].orphans) == (4, 1)
    assert rows["renditions"].bytes == sum(asset.size for asset in assets) + 2
    assert rows["thumbnails"].files == 2
    assert rows["database"].bytes > 0
    scan = StorageScan.objects.get()
    assert scan.finished_at is not None
    assert scan.due_at is not None
    assert scan.due_at > timezone.now() + timedelta(hours=23)


def test_interrupted_scan_goes_on_where_it_stopped(make_review: Callable[..., Review]) -> None:
    make_review()
    storage_usage.add_scan()
    answers = iter([True] * 300 + [False])
    storage_usage.run_due(go_on=lambda: next(answers, False))
    assert 0 < StorageScan.objects.get().position < storage_usage.STEPS
    assert not StorageUsage.objects.exists()

    storage_usage.run_due(go_on=lambda: True)

    assert StorageUsage.objects.get(kind="renditions").files == 1
    assert StorageUsage.objects.get(kind="thumbnails").files == 1


def test_forecast_names_the_day_on_which_the_reserve_is_reached(settings: object) -> None:
    settings.STORAGE_RESERVE = 1000
    for days_ago, size in ((4, 1000), (0, 5000)):
        add_usage(days_ago, size)
    StorageReport.objects.create(host="a", free_bytes=11_000, seen_at=timezone.now())

    found = storage_usage.forecast()

    assert found.per_day == 1000
    assert found.full_on == timezone.now().date() + timedelta(days=10)


def test_page_shows_kinds_growth_and_chores_to_operators_only(
    client_of: ClientOf, operator: User, moderator: User
) -> None:
    add_usage(1, 1024), add_usage(0, 3 * 1024)
    housekeeping.add_chores()
    run()

    page = client_of(operator).get("/storage/")

    text = page.content.decode()
    assert page.status_code == 200
    assert "Renditions" in text
    assert "Unfinished removals" in text
    assert "<svg" in text
    assert client_of(moderator).get("/storage/").status_code == 403
