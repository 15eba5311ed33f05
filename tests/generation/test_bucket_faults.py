"""Faults of a bucket: nothing is lost, nothing new is paid for, and the work resumes by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

import moderation.tasks
from generation import tasks
from generation.core import bucket
from generation.core.storage import BucketError, BucketFault
from generation.models import Asset, GenerationRequest, RemoteImage, StorageReport
from generation.sandbox.models import SandboxTask
from generation.services import storage_checks
from moderation.models import Classification
from tests import buckets
from tests.buckets import FaultyProxy, Moto
from tests.generation.pipeline_helpers import ask, make_everything_due, run_line
from tests.generation.test_forms import sent
from tests.generation.test_request_create import NEW
from tests.generation.test_storage_faults import end_outage, fetch_often, ready

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("pipeline", "model_suggestions"),
]
Status = GenerationRequest.Status


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    with Moto() as server:
        yield server


@pytest.fixture(autouse=True)
def proxy(moto: Moto, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    monkeypatch.setattr(bucket, "ATTEMPTS", 1)
    monkeypatch.setattr(bucket, "PAUSE", 0.0)
    with FaultyProxy(moto.port) as server:
        buckets.use_bucket(monkeypatch, settings, server.url)
        storage_checks.start_host()
        yield server


@contextmanager
def failing(proxy: FaultyProxy, fault: str, settings: Any) -> Iterator[None]:
    """Let the bucket fail; wait briefly for one that hangs.

    The short limit ends with the fault: on a busy machine, a bucket that works may need longer.
    """
    before = settings.STORAGES
    prefix = before["assets"]["OPTIONS"]["location"]
    with pytest.MonkeyPatch.context() as patch, proxy.failing(fault):
        if fault == "hang":
            patch.setattr(bucket, "READ_TIMEOUT", 0.3)
            buckets.use_bucket(patch, settings, proxy.url, S3_PREFIX=prefix)
        yield
        settings.STORAGES = before


def fetch_readiness() -> str:
    return str(Client().get("/readyz").json()["storage"])


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("busy", "the object storage answers that it is unavailable"),
        ("hang", "the object storage cannot be reached"),
        ("refused", "the object storage refuses Loupe's access"),
        ("no-bucket", "the bucket does not exist there"),
    ],
)
def test_failing_bucket_costs_no_attempt_no_money_and_no_image(
    proxy: FaultyProxy,
    fault: str,
    words: str,
    admin: User,
    client_of: Callable[[User], Client],
    settings: Any,
) -> None:
    request, queued = ready(image_num=2), ask(seed=6)
    assert fetch_readiness() == "ok"

    with failing(proxy, fault, settings):
        fetch_often(3)
        make_everything_due()
        tasks.submit()
        answer = client_of(admin).post(NEW, sent(prompt="a quiet pond"))

        assert list(RemoteImage.objects.values_list("status", "attempts")) == [("waiting", 0)] * 2
        queued.refresh_from_db()
        assert (queued.status, queued.reason) == (Status.QUEUED, "STORAGE_UNAVAILABLE")
        assert SandboxTask.objects.count() == 1
        assert answer.status_code == 503
        assert words in answer.content.decode().replace("&#x27;", "'")
        assert words in fetch_readiness()
        assert "127.0.0.1" not in fetch_readiness()
        assert words in client_of(admin).get("/").content.decode().replace("&#x27;", "'")

    end_outage()
    run_line()
    request.refresh_from_db()
    queued.refresh_from_db()
    assert (request.status, queued.status) == (Status.SUCCEEDED, Status.SUCCEEDED)
    assert (fetch_readiness(), Asset.objects.count()) == ("ok", 3)
    for asset in Asset.objects.all():
        with asset.rendition.open("rb") as file:
            assert len(file.read()) == asset.size


def test_view_of_an_image_is_503_with_the_reason_while_the_bucket_is_away(
    proxy: FaultyProxy,
    make_asset: Callable[..., Asset],
    client_of: Callable[[User], Client],
    moderator: User,
) -> None:
    asset = make_asset()
    browser, url = client_of(moderator), reverse("generation:asset-file", args=[asset.uuid])
    assert b"".join(browser.get(url).streaming_content)

    with proxy.failing("busy"):
        answer = browser.get(url)
        assert (answer.status_code, answer["Retry-After"]) == (503, "30")
        assert "answers that it is unavailable" in answer.content.decode()

    answer = browser.get(url)
    assert (answer.status_code, answer["Content-Length"]) == (200, str(asset.size))
    assert len(b"".join(answer.streaming_content)) == asset.size


def test_classification_waits_for_the_bucket(
    proxy: FaultyProxy,
    make_asset: Callable[..., Asset],
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.CLASSIFIERS = ["sandbox"]
    name = "moderation.classifiers.sandbox.Sandbox.applies_to"
    monkeypatch.setattr(name, lambda self, asset: True)
    make_asset()

    with proxy.failing("busy"):
        for _ in range(4):
            make_everything_due()
            past = timezone.now() - timedelta(seconds=1)
            Classification.objects.update(due_at=past)
            moderation.tasks.classify()
        run = Classification.objects.get()
        assert (run.status, run.attempts) == (Classification.Status.QUEUED, 0)
        assert "answers that it is unavailable" in run.error


def test_object_that_is_gone_is_missing_and_no_outage(
    proxy: FaultyProxy,
    make_asset: Callable[..., Asset],
    client_of: Callable[[User], Client],
    moderator: User,
) -> None:
    asset = make_asset()
    asset.rendition.storage.delete(asset.rendition.name)
    url = reverse("generation:asset-file", args=[asset.uuid])

    assert client_of(moderator).get(url).status_code == 404
    assert StorageReport.objects.get().error == ""


def test_emptied_bucket_is_not_taken_for_a_new_one(make_asset: Callable[..., Asset]) -> None:
    asset = make_asset()
    asset.rendition.storage.delete(storage_checks.IDENTITY)

    report = storage_checks.refresh_report()
    assert "check that S3_BUCKET and S3_PREFIX are right" in report.error
    assert report.failed_at is not None

    storage_checks.start_host()
    assert storage_checks.explain_outage() == ""


def test_every_fault_of_a_bucket_has_a_cause_and_advice() -> None:
    for fault in BucketFault:
        message = storage_checks.explain_error(BucketError(fault, "x"))
        assert message.startswith("Images cannot be stored: ")
        assert "To do: " in message
