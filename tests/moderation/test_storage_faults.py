"""Stored images that are out of reach, hosts that share no storage, and what people are told of
it.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from datetime import timedelta
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
from moderation.models import Classification, Review
from tests.generation.faults import end_pauses, failing_reads
from tests.moderation.page_helpers import As

pytestmark = pytest.mark.django_db
Status = Classification.Status
MakeAsset = Callable[..., Asset]


@pytest.fixture
def asset(make_asset: MakeAsset, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Asset:
    """One that the sandbox's classifier is asked about."""
    settings.CLASSIFIERS = ["sandbox"]
    monkeypatch.setattr(
        "moderation.classifiers.sandbox.Sandbox.applies_to", lambda self, asset: True
    )
    monkeypatch.setattr(
        "moderation.classifiers.sandbox.Sandbox.assess", lambda self, content: Assessment()
    )
    storage_checks.start_host()
    return make_asset()


def classify_often(times: int = 6) -> Classification:
    """More often than a classification is tried."""
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


def lose(asset: Asset) -> bytes:
    with asset.rendition.open("rb") as file:
        content = bytes(file.read())
    asset.rendition.storage.delete(asset.rendition.name)
    return content


# --- Out of reach ---
def test_an_image_on_another_hosts_storage_waits_for_that_host(asset: Asset) -> None:
    content = lose(asset)
    add_host("other-host", "another storage")

    run = classify_often()

    assert (run.status, run.attempts) == (Status.QUEUED, 0)
    assert "It waits for other-host, whose image storage is another one." in run.error
    assert Review.objects.get().status == Review.Status.CLASSIFYING

    asset.rendition.storage.save(asset.rendition.name, ContentFile(content))
    assert classify_often(1).status == Status.DONE


def test_an_image_that_is_really_gone_goes_to_a_person_with_the_reason(asset: Asset) -> None:
    lose(asset)
    add_host("sharing-host", StorageReport.objects.get().storage_id)
    add_host("gone-host", "another storage", seen_at=timezone.now() - storage_checks.SEEN_LATELY)

    run = classify_often(1)

    assert (run.status, run.error) == (Status.FAILED, "The stored image is missing.")
    review = Review.objects.get()
    assert review.status == Review.Status.PENDING
    assert "The stored image is missing." in review.reason


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_a_storage_that_cannot_be_read_is_no_attempt(asset: Asset, number: int) -> None:
    with failing_reads(number):
        run = classify_often()
    assert (run.status, run.attempts) == (Status.QUEUED, 0)
    assert run.error == storage_checks.explain_error(OSError(number, ""))

    assert classify_often(1).status == Status.DONE


def test_one_file_that_cannot_be_read_is_given_up_while_the_storage_works(asset: Asset) -> None:
    with failing_reads(errno.EIO, all_files=False):
        run = classify_often()

    assert (run.status, run.error) == (Status.FAILED, "The stored image could not be read.")
    assert storage_checks.explain_outage() == ""


def test_an_unmounted_volume_is_no_attempt(asset: Asset) -> None:
    lose(asset)
    asset.rendition.storage.delete(storage_checks.IDENTITY)

    run = classify_often()

    assert (run.status, run.attempts) == (Status.QUEUED, 0)
    assert "check that the volume" in run.error


def test_classifiers_behind_a_network_wait_as_local_ones_do(asset: Asset) -> None:
    lose(asset)
    add_host("other-host", "another storage")
    ((_, error),) = nanogpt._prepare([Asset.objects.get()])[1]
    assert isinstance(error, ImageUnavailableError)

    StorageReport.objects.filter(host="other-host").delete()
    ((_, error),) = nanogpt._prepare([Asset.objects.get()])[1]
    assert type(error) is ClassifierError


# --- What people are told ---
def probe() -> tuple[int, str]:
    answer = Client().get("/readyz")
    return answer.status_code, answer.json()["storage"]


def test_today_and_the_probe_say_what_fails_and_what_to_do(
    client_of: As, moderator: User, admin: User
) -> None:
    storage_checks.start_host()
    assert probe() == (200, "ok")
    assert "No errors since" in client_of(moderator).get("/").content.decode()

    storage_checks.record_failure(
        StorageUnavailableError(storage_checks.explain_error(OSError(errno.ENOSPC, "")))
    )

    status, text = probe()
    assert status == 200  # what is stored can still be decided
    assert "the disk is full. To do: make room" in text
    assert storage_checks.HOST not in text
    page = client_of(moderator).get("/").content.decode()
    assert (
        f"On {storage_checks.HOST}: Images cannot be stored: the disk is full. To do: make room"
        in page
    )
    assert "No errors since" not in page
    assert ">Failing<" in client_of(admin).get("/").content.decode()


def test_too_little_room_is_said_without_a_worker_too(
    settings: Any, client_of: As, moderator: User
) -> None:
    settings.STORAGE_RESERVE = 2 * (storage_checks.count_free_bytes() or 0)

    assert "less than the reserve" in probe()[1]
    assert "(STORAGE_RESERVE_MB)" in client_of(moderator).get("/").content.decode()


def test_hosts_without_a_shared_storage_are_named(
    client_of: As, moderator: User, caplog: pytest.LogCaptureFixture
) -> None:
    storage_checks.start_host()
    add_host("a-second", "another storage")
    add_host("a-third", "another storage")

    expected = f"Hosts a-second, a-third and {storage_checks.HOST} do not share their image storage"
    assert expected in client_of(moderator).get("/").content.decode()
    assert probe()[1].startswith("Hosts have 2 different image storages")
    ticker = Scheduler()
    with caplog.at_level(logging.ERROR, logger="loupe.engine"):
        for _ in range(2):
            ticker._check_storage()
    assert [expected in record.getMessage() for record in caplog.records] == [True]


def test_hosts_that_share_a_storage_are_not_named(client_of: As, moderator: User) -> None:
    storage_checks.start_host()
    add_host("a-second", StorageReport.objects.get().storage_id)

    assert probe() == (200, "ok")
    assert "do not share" not in client_of(moderator).get("/").content.decode()


def test_a_web_server_beside_foreign_workers_notices_that_it_has_no_part_in_their_storage() -> None:
    add_host("a-worker", "its storage")

    assert "2 different image storages" in probe()[1]


def test_two_workers_on_one_host_are_counted(client_of: As, admin: User) -> None:
    heartbeats = [jobs.Heartbeat(), jobs.Heartbeat()]
    for _ in range(2):
        for heartbeat in heartbeats:
            heartbeat.send_heartbeat()
    assert JobSlot.objects.alive(timezone.now()).count() == 2
    assert f"on {jobs.HOST} (2 workers)" in client_of(admin).get("/").content.decode()

    jobs.start_over()  # a third one starts
    heartbeats[0].send_heartbeat()
    assert JobSlot.objects.alive(timezone.now()).count() == 1
