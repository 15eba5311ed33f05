"""Storage faults: unreachable images, hosts with different storages, and their messages."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.test import Client
from django.utils import timezone

import moderation.tasks
from config.worker.scheduler import Scheduler
from generation import jobs
from generation.core.storage import StorageUnavailableError
from generation.models import Asset, JobSlot, StorageReport
from generation.services import storage_checks
from moderation.classifiers import nanogpt
from moderation.classifiers.base import Assessment, ClassifierError, ImageUnavailableError
from moderation.classifiers.picture import Picture
from moderation.models import Classification, Review
from tests.generation.faults import end_pauses, failing_reads
from tests.moderation.page_helpers import ClientOf
from tests.stored import use_directory

pytestmark = pytest.mark.django_db
Status = Classification.Status
MakeAsset = Callable[..., Asset]


@pytest.fixture(autouse=True)
def _directory(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_directory(monkeypatch, settings, tmp_path)


@pytest.fixture
def asset(make_asset: MakeAsset, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Asset:
    """Create an asset for the sandbox's classifier."""
    settings.CLASSIFIERS = ["sandbox"]
    monkeypatch.setattr(
        "moderation.classifiers.sandbox.Sandbox.applies_to", lambda self, asset: True
    )
    monkeypatch.setattr("moderation.classifiers.sandbox.Sandbox.assess", read_only)
    storage_checks.start_host()
    return make_asset()


def read_only(self: Any, picture: Picture) -> Assessment:
    """Read the file and find nothing."""
    return Assessment(raw={"bytes": len(picture.content)})


def classify_repeatedly(times: int = 6) -> Classification:
    """Run the job more often than the maximum number of attempts."""
    for _ in range(times):
        Classification.objects.filter(due_at__isnull=False).update(
            due_at=timezone.now() - timedelta(seconds=1)
        )
        end_pauses()
        moderation.tasks.classify()
    return Classification.objects.get()


def add_host(host: str, storage_id: str = "", **fields: Any) -> StorageReport:
    values = {"storage_id": storage_id, "seen_at": timezone.now(), "free_bytes": 10**10, **fields}
    return StorageReport.objects.create(host=host, **values)


def delete_file(asset: Asset) -> bytes:
    with asset.rendition.open("rb") as file:
        content = bytes(file.read())
    asset.rendition.storage.delete(asset.rendition.name)
    return content


# --- Unreachable images ---
def test_image_on_storage_of_another_host_waits_for_that_host(asset: Asset) -> None:
    content = delete_file(asset)
    add_host("other-host", "another storage")

    run = classify_repeatedly()

    assert (run.status, run.attempts) == (Status.QUEUED, 0)
    assert "It waits for other-host, which use another image storage." in run.error
    assert Review.objects.get().status == Review.Status.CLASSIFYING

    asset.rendition.storage.save(asset.rendition.name, ContentFile(content))
    assert classify_repeatedly(1).status == Status.DONE


def test_missing_image_goes_to_a_person_with_reason(asset: Asset) -> None:
    delete_file(asset)
    add_host("sharing-host", StorageReport.objects.get().storage_id)
    add_host("gone-host", "another storage", seen_at=timezone.now() - storage_checks.SEEN_LATELY)

    run = classify_repeatedly(1)

    assert (run.status, run.error) == (Status.FAILED, "The stored image is missing.")
    review = Review.objects.get()
    assert review.status == Review.Status.PENDING
    assert "The stored image is missing." in review.reason


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_unreadable_storage_is_not_counted_as_attempt(asset: Asset, number: int) -> None:
    with failing_reads(number):
        run = classify_repeatedly()
    assert (run.status, run.attempts) == (Status.QUEUED, 0)
    assert run.error == storage_checks.explain_error(OSError(number, ""))

    assert classify_repeatedly(1).status == Status.DONE


def test_unreadable_file_on_working_storage_fails_classification(asset: Asset) -> None:
    with failing_reads(errno.EIO, all_files=False):
        run = classify_repeatedly()

    assert (run.status, run.error) == (Status.FAILED, "The stored image could not be read.")
    assert storage_checks.explain_outage() == ""


def test_unmounted_volume_is_not_counted_as_attempt(asset: Asset) -> None:
    delete_file(asset)
    asset.rendition.storage.delete(storage_checks.IDENTITY)

    run = classify_repeatedly()

    assert (run.status, run.attempts) == (Status.QUEUED, 0)
    assert "check that the volume" in run.error


def test_remote_classifier_waits_for_images_of_another_host(asset: Asset) -> None:
    delete_file(asset)
    add_host("other-host", "another storage")
    ((_, error),) = nanogpt._prepare([Asset.objects.get()])[1]
    assert isinstance(error, ImageUnavailableError)

    StorageReport.objects.filter(host="other-host").delete()
    ((_, error),) = nanogpt._prepare([Asset.objects.get()])[1]
    assert type(error) is ClassifierError


# --- Messages ---
def fetch_readiness() -> tuple[int, str]:
    answer = Client().get("/readyz")
    return answer.status_code, answer.json()["storage"]


def test_today_and_readyz_show_storage_failure_with_remedy(
    client_of: ClientOf, moderator: User, admin: User
) -> None:
    storage_checks.start_host()
    assert fetch_readiness() == (200, "ok")
    assert "No errors since" in client_of(moderator).get("/").content.decode()

    storage_checks.record_failure(
        StorageUnavailableError(storage_checks.explain_error(OSError(errno.ENOSPC, "")))
    )

    status, text = fetch_readiness()
    assert status == 200  # stored images can still be decided
    assert "the disk is full. To do: make room" in text
    assert storage_checks.HOST not in text
    page = client_of(moderator).get("/").content.decode()
    assert (
        f"On {storage_checks.HOST}: Images cannot be stored: the disk is full. To do: make room"
        in page
    )
    assert "No errors since" not in page
    assert ">Failing<" in client_of(admin).get("/").content.decode()


def test_low_disk_space_is_shown_without_a_worker(
    settings: Any, client_of: ClientOf, moderator: User
) -> None:
    settings.STORAGE_RESERVE = 2 * (storage_checks.count_free_bytes() or 0)

    assert "less than the reserve" in fetch_readiness()[1]
    assert "(STORAGE_RESERVE_MB)" in client_of(moderator).get("/").content.decode()


def test_hosts_with_different_storages_are_named(
    client_of: ClientOf, moderator: User, caplog: pytest.LogCaptureFixture
) -> None:
    storage_checks.start_host()
    add_host("a-second", "another storage")
    add_host("a-third", "another storage")

    expected = f"Hosts a-second, a-third and {storage_checks.HOST} do not share their image storage"
    assert expected in client_of(moderator).get("/").content.decode()
    assert fetch_readiness()[1].startswith("Hosts have 2 different image storages")
    scheduler = Scheduler()
    with caplog.at_level(logging.ERROR, logger="loupe.worker"):
        for _ in range(2):
            scheduler._check_storage()
    reports = [record for record in caplog.records if record.name == "loupe.worker"]
    assert [expected in record.getMessage() for record in reports] == [True]


def test_hosts_with_shared_storage_are_not_named(client_of: ClientOf, moderator: User) -> None:
    storage_checks.start_host()
    add_host("a-second", StorageReport.objects.get().storage_id)

    assert fetch_readiness() == (200, "ok")
    assert "do not share" not in client_of(moderator).get("/").content.decode()


def test_web_server_reports_storage_that_differs_from_workers() -> None:
    add_host("a-worker", "its storage")

    assert "2 different image storages" in fetch_readiness()[1]


def test_workers_on_one_host_are_counted(client_of: ClientOf, admin: User) -> None:
    heartbeats = [jobs.Heartbeat(), jobs.Heartbeat()]
    for _ in range(2):
        for heartbeat in heartbeats:
            heartbeat.send_heartbeat()
    assert JobSlot.objects.alive(timezone.now()).count() == 2
    shown = client_of(admin).get("/").content.decode()
    assert shown.count(f"{jobs.HOST} (0 processes to classify)") == 2

    jobs.start_over()  # a third worker starts
    heartbeats[0].send_heartbeat()
    assert JobSlot.objects.alive(timezone.now()).count() == 1
