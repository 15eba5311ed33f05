"""Downloads from image URLs that expire.

They run in the order of their deadlines, and an expired URL is requested again once.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from generation import fetching, tasks
from generation.models import Asset, GenerationRequest, ProviderState, RemoteImage
from generation.sandbox.models import SandboxTask
from generation.services import downloading
from tests.generation.pipeline_helpers import ask, make_everything_due, run_line

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("pipeline")]
Status = GenerationRequest.Status


def ready(**fields: Any) -> GenerationRequest:
    request = ask(**fields)
    tasks.submit()
    tasks.poll()
    return request


def break_signatures() -> None:
    for image in RemoteImage.objects.all():
        RemoteImage.objects.filter(pk=image.pk).update(url=image.url[:-4] + "beef")


@pytest.mark.parametrize("how", ["refused with 403", "past its date"])
def test_expired_url_is_requested_again_once(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    request = ready(image_num=2)
    break_signatures()
    if how == "past its date":
        RemoteImage.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    tasks.fetch()

    request.refresh_from_db()
    assert (request.status, request.error) == (Status.SUCCEEDED, "")
    assert list(RemoteImage.objects.values_list("refreshes", "url")) == [(1, ""), (1, "")]
    assert all(asset.url_expires_at > timezone.now() for asset in Asset.objects.all())


def test_second_expiry_fails_the_request_with_a_message() -> None:
    request = ready(prompt="a harbour sandbox:expired", image_num=2)
    run_line(rounds=2)
    request.refresh_from_db()
    assert (request.status, request.reason) == (Status.FAILED, "IMAGES_LOST")
    assert (
        "Image 2: The URL has expired or forbids reading. The provider had already been asked"
        in request.error
    )
    assert list(RemoteImage.objects.values_list("refreshes", flat=True)) == [1, 1]


def test_expired_url_of_an_unknown_task_fails_the_request() -> None:
    request = ready()
    break_signatures()
    SandboxTask.objects.all().delete()
    tasks.fetch()
    request.refresh_from_db()
    assert request.status == Status.FAILED
    assert "There is no new one: Novita (sandbox) no longer knows this task." in request.error


def test_unavailable_provider_is_asked_for_a_new_url_later(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ready()
    break_signatures()
    settings.SANDBOX = False
    RemoteImage.objects.update(expires_at=timezone.now())
    tasks.fetch()
    image = RemoteImage.objects.get()
    assert (image.status, image.refreshes) == (RemoteImage.Status.WAITING, 0)
    assert image.error.startswith("The URL has expired. A new one is requested again soon: ")

    settings.SANDBOX = True
    make_everything_due()
    tasks.fetch()
    request.refresh_from_db()
    assert request.status == Status.SUCCEEDED


def test_permanently_unavailable_provider_fails_the_request(settings: Any) -> None:
    request = ready()
    RemoteImage.objects.update(expires_at=timezone.now())
    settings.SANDBOX = False
    for _ in range(8):
        make_everything_due()
        tasks.fetch()
    request.refresh_from_db()
    assert (request.status, request.reason) == (Status.FAILED, "IMAGES_LOST")
    assert "There is no new one: Novita (sandbox) " in request.error


def test_image_with_the_nearest_deadline_is_downloaded_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ready(image_num=6)
    for image in RemoteImage.objects.all():
        expires_at = timezone.now() + timedelta(hours=7 - image.position)
        due_at = timezone.now() - timedelta(seconds=9 - image.position)
        RemoteImage.objects.filter(pk=image.pk).update(expires_at=expires_at, due_at=due_at)
    order: list[int] = []

    def note(*, image: RemoteImage) -> Any:
        order.append(image.position)
        raise fetching.FetchError("Not today.")

    monkeypatch.setattr(downloading, "download_image", note)
    monkeypatch.setattr(tasks, "FETCH_THREADS", 1)
    tasks.fetch()
    assert order == [5, 4, 3, 2, 1, 0]


def test_seeds_and_result_are_stored_without_url_signatures(settings: Any) -> None:
    request = ready(image_num=3, seed=41)
    tasks.fetch()
    request.refresh_from_db()
    assert list(Asset.objects.order_by("position").values_list("seed", flat=True)) == [41, 42, 43]
    assert request.result["task"]["status"] == "TASK_STATUS_SUCCEED"
    assert '"seeds": [41, 42, 43]' in request.result["extra"]["debug_info"]["request_info"]
    assert request.result["images"][2]["image_url"].endswith(f"{request.provider_task_id}/2.png")
    state = ProviderState.objects.get()
    assert state.last_success_at is not None
    assert state.last_error == ""
