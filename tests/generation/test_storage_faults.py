"""Storage faults: a full disk or an unwritable folder.

A fault uses up no download attempt, sends no new request and fails no existing one. The work
continues automatically after it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

import moderation.tasks
from generation import imaging, tasks
from generation.core.storage import StorageUnavailableError
from generation.imaging import child, decode, pool
from generation.models import (
    Asset,
    GenerationRequest,
    ImagesOfDay,
    ImportRun,
    JobSlot,
    RemoteImage,
    StorageReport,
)
from generation.sandbox.models import SandboxTask
from generation.services import storage_checks
from tests.conftest import picture
from tests.generation.faults import end_pauses, failing_writes
from tests.generation.pipeline_helpers import ask, make_everything_due, run_line
from tests.generation.test_forms import sent
from tests.generation.test_import_command import STORED, command
from tests.generation.test_request_create import NEW
from tests.moderation.api.calls import CLEAN, classify, data_url, make_key
from tests.moderation.api.test_novita import body, submit
from tests.small_disks import mount_small_disk
from tests.stored import use_directory

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("pipeline", "model_suggestions"),
]
Status = GenerationRequest.Status
FAULTS = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO]
MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def _directory(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Begin with an empty directory, because an existing file is not written again."""
    use_directory(monkeypatch, settings, tmp_path / "assets")


def ready(**fields: Any) -> GenerationRequest:
    request = ask(**fields)
    tasks.submit()
    tasks.poll()
    return request


def fetch_often(times: int = 7) -> None:
    """Run the download job more often than the maximum number of attempts."""
    for _ in range(times):
        make_everything_due()
        end_pauses()
        tasks.fetch()


def end_outage() -> None:
    """Refresh the storage report as the worker does every 10 s, with a working disk."""
    assert storage_checks.refresh_report().error == ""
    make_everything_due()
    end_pauses()


# --- Generated images ---
@pytest.mark.parametrize("number", FAULTS)
def test_image_that_cannot_be_written_waits_without_using_an_attempt(number: int) -> None:
    request = ready(image_num=2)

    with failing_writes(number):
        fetch_often()

    request.refresh_from_db()
    assert (request.status, Asset.objects.count()) == (Status.FETCHING, 0)
    images = list(RemoteImage.objects.values_list("status", "attempts"))
    assert images == [("waiting", 0), ("waiting", 0)]
    report = StorageReport.objects.get()
    assert report.failed_at is not None
    assert report.error == storage_checks.explain_error(OSError(number, ""))

    make_everything_due()
    end_pauses()
    tasks.fetch()

    request.refresh_from_db()
    assert (request.status, request.error, Asset.objects.count()) == (Status.SUCCEEDED, "", 2)
    assert StorageReport.objects.get().error == ""
    assert SandboxTask.objects.count() == 1


def test_failed_thumbnail_write_stores_no_asset() -> None:
    request = ready()

    with failing_writes(errno.ENOSPC, after=1):
        tasks.fetch()

    assert Asset.objects.count() == 0
    image = RemoteImage.objects.get()
    assert (image.status, image.attempts) == ("waiting", 0)
    assert "the disk is full. To do: make room" in image.error
    fetch_often(1)
    request.refresh_from_db()
    assert request.status == Status.SUCCEEDED


def test_download_job_pauses_after_a_storage_fault_and_claims_nothing() -> None:
    ready()
    with failing_writes(errno.ENOSPC):
        tasks.fetch()
        make_everything_due()
        end_pauses()
        before = timezone.now()
        tasks.fetch()

        slot = JobSlot.objects.get(name="fetch", host=storage_checks.HOST)
        assert slot.running_until is not None
        assert slot.running_until > before + storage_checks.RETRY_AFTER / 2
        assert (
            RemoteImage.objects.get().lease is not None
        )  # the lease of the first run; the second run claimed nothing
        lease = RemoteImage.objects.get().lease
        end_pauses()
        tasks.fetch()
        assert RemoteImage.objects.get().lease == lease


def test_image_urls_that_expire_during_an_outage_are_requested_again() -> None:
    request = ready(image_num=2)
    RemoteImage.objects.update(refreshes=1)
    with failing_writes(errno.EROFS):
        fetch_often(2)
    RemoteImage.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    fetch_often(2)

    request.refresh_from_db()
    assert (request.status, request.error) == (Status.SUCCEEDED, "")
    assert set(RemoteImage.objects.values_list("refreshes", flat=True)) == {1}


def test_unavailable_decoder_uses_no_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    request = ready()

    def unavailable(content: bytes) -> imaging.Rendition:
        raise imaging.DecoderUnavailableError("The image decoder could not be started.")

    with monkeypatch.context() as patched:
        patched.setattr(imaging, "render", unavailable)
        fetch_often()
    image = RemoteImage.objects.get()
    assert (image.status, image.attempts, image.error) == (
        "waiting",
        0,
        "The image decoder could not be started.",
    )

    fetch_often(1)
    request.refresh_from_db()
    assert request.status == Status.SUCCEEDED


def test_system_error_inside_the_decoder_raises_decoder_unavailable_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*args: Any, **options: Any) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(decode.Image, "open", broken)
    answer, blobs = child._answer(child._decode, decode.decode_image, picture())
    with pytest.raises(imaging.DecoderUnavailableError, match="Input/output error"):
        pool._build_rendition(b"", answer, blobs)
    monkeypatch.undo()
    answer, _ = child._answer(child._decode, decode.decode_image, picture()[:-200])
    assert answer["code"] == "broken"


# --- Money ---
def test_queued_requests_are_sent_only_after_the_storage_fault() -> None:
    ready()
    queued = [ask(seed=seed) for seed in (6, 7)]
    with failing_writes(errno.ENOSPC):
        tasks.fetch()
        tasks.submit()

    assert SandboxTask.objects.count() == 1
    for request in queued:
        request.refresh_from_db()
        assert (request.status, request.reason, request.cost) == (
            Status.QUEUED,
            "STORAGE_UNAVAILABLE",
            None,
        )
        assert "the disk is full" in request.error

    end_outage()
    run_line()
    assert SandboxTask.objects.count() == 3
    assert set(GenerationRequest.objects.values_list("status", flat=True)) == {Status.SUCCEEDED}


def test_below_the_reserve_new_requests_wait_and_generated_images_are_stored(
    settings: Any,
) -> None:
    request = ready()
    waiting = ask(seed=6)
    settings.STORAGE_RESERVE = 2 * (storage_checks.count_free_bytes() or 0)

    tasks.fetch()
    tasks.submit()
    with pytest.raises(
        StorageUnavailableError, match=r"less than the reserve of .* MiB \(STORAGE_RESERVE_MB\)"
    ):
        ask(seed=7)

    request.refresh_from_db()
    waiting.refresh_from_db()
    assert (request.status, waiting.status) == (Status.SUCCEEDED, Status.QUEUED)
    assert GenerationRequest.objects.count() == 2


def test_images_are_not_stored_far_below_the_reserve(settings: Any) -> None:
    request = ready()
    settings.STORAGE_RESERVE = 16 * (storage_checks.count_free_bytes() or 0)

    fetch_often()
    assert (Asset.objects.count(), RemoteImage.objects.get().attempts) == (0, 0)

    settings.STORAGE_RESERVE = 0
    fetch_often(1)
    request.refresh_from_db()
    assert request.status == Status.SUCCEEDED


def fail_once() -> None:
    """Record a full disk, as a worker of this host does."""
    storage_checks.record_failure(
        StorageUnavailableError(storage_checks.explain_error(OSError(errno.ENOSPC, "")))
    )


def test_form_returns_503_with_the_reason_and_keeps_its_values(
    admin: User, client_of: Callable[[User], Client]
) -> None:
    fail_once()

    answer = client_of(admin).post(NEW, sent(prompt="a quiet pond"))

    assert answer.status_code == 503
    assert "the disk is full. To do: make room" in answer.content.decode()
    assert "a quiet pond" in answer.content.decode()
    assert not GenerationRequest.objects.exists()
    end_outage()
    assert client_of(admin).post(NEW, sent(prompt="a quiet pond")).status_code == 302


def test_novita_api_returns_503_with_retry_after_and_records_nothing() -> None:
    fail_once()
    key = make_key("generate", images_per_day=5)

    answer = submit(key, body(image_num=2), **{"Idempotency-Key": "order-1"})

    assert (answer.status_code, answer["Retry-After"]) == (503, "60")
    content = answer.json()
    assert (content["code"], content["reason"], content["metadata"]) == (
        503,
        "SERVICE_UNAVAILABLE",
        {},
    )
    assert "Nothing was submitted or charged" in content["message"]
    assert storage_checks.HOST not in content["message"]
    assert not GenerationRequest.objects.exists()
    assert sum(ImagesOfDay.objects.values_list("images", flat=True)) == 0

    end_outage()
    assert submit(key, body(image_num=2), **{"Idempotency-Key": "order-1"}).status_code == 200
    fail_once()
    # A repeated call returns the request of the first call.
    assert submit(key, body(image_num=2), **{"Idempotency-Key": "order-1"}).status_code == 200
    assert GenerationRequest.objects.count() == 1


def test_nanogpt_api_returns_503_for_a_stored_image_and_still_classifies(
    settings: Any,
) -> None:
    settings.CLASSIFIERS = ["sandbox"]
    key = make_key("classify", images_per_day=5)
    with failing_writes(errno.ENOSPC):
        for _ in range(2):  # the first call finds the fault by writing, the second one knows it
            answer = classify(
                key, {"imageDataUrl": data_url(CLEAN)}, path="/api/nsfw/image?review=true"
            )
            assert (answer.status_code, answer["Retry-After"]) == (503, "60")
            assert "the disk is full" in json.loads(answer.content)["error"]
        assert classify(key, {"imageDataUrl": data_url(CLEAN)}).status_code == 200
    assert (Asset.objects.count(), ImagesOfDay.objects.get().images) == (0, 1)

    answer = classify(key, {"imageDataUrl": data_url(CLEAN)}, path="/api/nsfw/image?review=true")
    assert answer.status_code == 200
    assert answer["X-Loupe-Assets"] == str(Asset.objects.get().uuid)


# --- Imports ---
def test_file_import_stops_at_a_fault_and_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(3):
        (folder / f"{seed}.png").write_bytes(picture(seed))

    with (
        failing_writes(errno.EACCES, after=3),
        pytest.raises(
            CommandError,
            match=r"Stopped at .*1\.png, with 2 files left\. .*may not write there.* same comm",
        ),
    ):
        call_command("import_images", str(folder))
    assert "1 images stored" in capsys.readouterr().out
    assert Asset.objects.count() == 1

    call_command("import_images", str(folder))
    assert (
        "2 images stored and queued for classification, 1 already known, 0 refused."
        in capsys.readouterr().out
    )


def test_scenario_import_stops_at_a_fault_and_resumes(
    scenario_sandbox: Callable[..., None],
) -> None:
    with (
        failing_writes(errno.ENOSPC, after=3),
        pytest.raises(CommandError, match=r"disk is full.* Run this again"),
    ):
        command()
    run = ImportRun.objects.get()
    assert (run.status, run.stored, run.refused, run.cursor) == ("running", 1, 0, "")
    assert "the disk is full" in run.error

    ImportRun.objects.update(leased_until=None)
    assert "The list is complete." in command()
    assert Asset.objects.count() == len(STORED)


# --- A real disk that is full ---
@pytest.fixture
def small_disk(tmp_path: Path, settings: Any) -> Iterator[Path]:
    """Mount a tmpfs of 16 MiB as the image storage."""
    with mount_small_disk(tmp_path / "assets", mebibytes=16) as place:
        assets = {**settings.STORAGES["assets"], "OPTIONS": {"location": place}}
        settings.STORAGES = {**settings.STORAGES, "assets": assets}
        yield place


def fill(folder: Path) -> Path:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(64 * 1024))
    assert shutil.disk_usage(folder).free == 0
    return filler


@pytest.mark.parametrize("reserve", [0, 4 * MIB], ids=["written until it fails", "with a reserve"])
def test_full_disk_delays_all_work_and_free_space_resumes_it(
    small_disk: Path, settings: Any, reserve: int
) -> None:
    settings.STORAGE_RESERVE = reserve
    storage_checks.start_host()
    request, later = ready(image_num=3, width=512, height=512), ask(seed=6)
    filler = fill(small_disk)

    fetch_often()
    tasks.submit()
    request.refresh_from_db()
    later.refresh_from_db()
    assert (request.status, later.status, Asset.objects.count()) == (
        Status.FETCHING,
        Status.QUEUED,
        0,
    )
    assert set(RemoteImage.objects.values_list("status", "attempts")) == {("waiting", 0)}
    assert "the disk is full" in StorageReport.objects.get().error

    filler.unlink()
    end_outage()
    for _ in range(3):
        for step in (tasks.fetch, tasks.submit, tasks.poll):
            step()
        make_everything_due()

    for one in (request, later):
        one.refresh_from_db()
        assert (one.status, one.error) == (Status.SUCCEEDED, "")
    assert len(list((small_disk / "renditions").rglob("*.*"))) == 4
    assert not list((small_disk / "tmp").iterdir())


# --- The report ---
def test_start_and_end_of_a_storage_fault_are_logged_in_one_line_each(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ready()
    with failing_writes(errno.ENOSPC):
        fetch_often()
    end_outage()
    storage_checks.refresh_report()

    lines = [record.getMessage() for record in caplog.records if record.name == "loupe.storage"]
    assert len(lines) == 2
    assert "the disk is full" in lines[0]
    assert lines[1] == "Images can be stored again"


def test_storage_without_its_identity_is_not_written_until_a_worker_restart() -> None:
    request = ready()
    storage_checks.start_host()
    before = StorageReport.objects.get().storage_id
    storages["assets"].delete(storage_checks.IDENTITY)

    assert (
        "check that the volume with DATA_DIR/assets is mounted"
        in storage_checks.refresh_report().error
    )
    fetch_often(2)
    assert Asset.objects.count() == 0

    storage_checks.start_host()
    assert StorageReport.objects.get().storage_id not in ("", before)
    fetch_often(1)
    request.refresh_from_db()
    assert request.status == Status.SUCCEEDED


def test_stale_storage_report_of_another_host_is_ignored() -> None:
    fail_once()
    StorageReport.objects.update(host="gone", seen_at=timezone.now() - StorageReport.FRESH_FOR)

    assert ask().status == Status.QUEUED


def test_stored_images_are_classified_during_a_storage_fault() -> None:
    ready(prompt="a whisky bottle")
    tasks.fetch()
    fail_once()

    moderation.tasks.classify()

    assert Asset.objects.get().review.status == "pending"
