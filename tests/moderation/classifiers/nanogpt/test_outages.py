"""Outages of nano-gpt: failing calls, missing responses and killed workers."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from generation import jobs
from generation.providers import nanogpt as client
from generation.providers.base import ServerFailedError, UnansweredError
from moderation import classifiers
from moderation.models import Classification
from moderation.presenters import providers
from moderation.services import remote_classification
from tests.moderation.classifiers.nanogpt.helpers import (
    NSFW,
    get_pending_review,
    is_nothing_approved,
    make_classifications_due,
    make_image,
    run_remote_classification,
    store_images,
)

pytestmark = pytest.mark.django_db(transaction=True)
Status = Classification.Status


@pytest.mark.parametrize("kind", ["429-always", "500", "502", "503"])
def test_outage_is_retried_for_15_minutes_then_review_is_pending(
    make_asset: Any, key: Any, kind: str
) -> None:
    key(f"sandbox-{kind}")
    rows = store_images(make_asset, 3)
    waited = timedelta(0)
    for attempt in range(1, remote_classification.ATTEMPTS + 1):
        assert not Classification.objects.exclude(status=Status.QUEUED).exists()
        before = timezone.now()
        run_remote_classification()
        row = Classification.objects.order_by("pk")[0]
        assert row.attempts == attempt
        assert row.error
        if row.due_at is not None:
            waited += row.due_at - before
        make_classifications_due()
    run_remote_classification()

    for row in rows:
        row.refresh_from_db()
        assert row.status == Status.FAILED
        assert row.error.endswith("It was asked 9 times.")
        get_pending_review(row)
    assert timedelta(minutes=14) < waited < timedelta(minutes=18)
    assert is_nothing_approved()


def test_failing_service_is_called_once_for_all_images(
    make_asset: Any, key: Any, calls: list[int]
) -> None:
    key("sandbox-503")
    rows = store_images(make_asset, 25)
    before = timezone.now()
    run_remote_classification()
    assert calls == [10]
    for row in rows:
        row.refresh_from_db()
        assert row.attempts == 1
        assert row.due_at is not None
        assert row.due_at > before + timedelta(seconds=25)  # its Retry-After is 30


def test_images_are_classified_after_outage_ends(make_asset: Any, key: Any) -> None:
    key("sandbox-429")
    rows = store_images(make_asset, 3, flagged=(0,))
    for _ in range(3):
        run_remote_classification()
        make_classifications_due()
    assert [Classification.objects.get(pk=row.pk).flagged for row in rows] == [True, False, False]
    assert Classification.objects.filter(error="").count() == 3


def test_unreachable_service_is_retried(make_asset: Any, settings: Any) -> None:
    settings.NANOGPT = {**settings.NANOGPT, "base_url": "http://127.0.0.1:1"}
    (row,) = store_images(make_asset, 1)
    run_remote_classification()
    row.refresh_from_db()
    assert (row.status, row.attempts) == (Status.QUEUED, 1)
    assert "could not be reached" in row.error


def test_call_without_response_adds_its_cost(
    make_asset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = store_images(make_asset, 1)

    def silent(self: Any, images: Any) -> Any:
        raise UnansweredError("nano-gpt did not answer in time, or broke off.")

    with monkeypatch.context() as patch:
        patch.setattr(client.NanoGpt, "classify", silent)
        run_remote_classification()
    make_classifications_due()
    run_remote_classification()
    row.refresh_from_db()
    assert (row.status, row.cost) == (Status.DONE, Decimal("0.003"))


def test_call_without_response_adds_no_cost_to_images_that_were_not_sent(
    make_asset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = store_images(make_asset, 2)

    def silent(self: Any, images: Any) -> Any:
        raise UnansweredError("nano-gpt did not answer in time, or broke off.")

    monkeypatch.setattr(client.NanoGpt, "classify", silent)
    monkeypatch.setattr(
        "moderation.classifiers.nanogpt.split_images", lambda images: [range(1), range(1, 2)]
    )
    run_remote_classification()
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.cost, second.cost) == (Decimal("0.0015"), 0)
    assert second.status == Status.QUEUED


def test_failing_image_does_not_affect_other_images(
    make_asset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = store_images(make_asset, 3)
    poison = rows[1].asset
    with poison.rendition.open("rb") as file:
        content = file.read()
    real = client.NanoGpt.classify

    def fail(self: Any, images: Any) -> Any:
        if any(sent == content for sent, _ in images):
            raise ServerFailedError("nano-gpt failed.")
        return real(self, images)

    monkeypatch.setattr(client.NanoGpt, "classify", fail)
    for _ in range(remote_classification.ATTEMPTS + 1):
        run_remote_classification()
        make_classifications_due()
    statuses = [Classification.objects.get(pk=row.pk).status for row in rows]
    assert statuses == [Status.DONE, Status.FAILED, Status.DONE]
    assert is_nothing_approved()


def test_image_that_kills_every_worker_leaves_review_pending(
    make_asset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = store_images(make_asset, 1)

    class Killed(BaseException):
        pass

    def die(self: Any, images: Any) -> Any:
        assert Classification.objects.get().attempts > 0, "counted before the risky step"
        raise Killed

    monkeypatch.setattr(client.NanoGpt, "classify", die)
    deaths = 0
    for _ in range(remote_classification.ATTEMPTS + 3):
        make_classifications_due()
        try:
            run_remote_classification()
        except Killed:
            deaths += 1
    row.refresh_from_db()
    assert (deaths, row.status) == (remote_classification.ATTEMPTS, Status.FAILED)
    assert "crashed its worker" in get_pending_review(row).reason


def test_worker_killed_at_any_write_loses_and_repeats_nothing(make_asset: Any, key: Any) -> None:
    class Killed(BaseException):
        pass

    key("sandbox-policy")
    effect, finished = 0, False
    while not finished:
        rows = [
            make_asset(make_image(*[NSFW] * n, seed=10 * effect + n)).classifications.get()
            for n in range(2)
        ]
        writes = 0

        def count(
            execute: Any, query: str, params: Any, many: bool, context: Any, dies_at: int = effect
        ) -> Any:
            nonlocal writes
            if (
                query.startswith(("INSERT", "UPDATE"))
                and "jobslot" not in query
                and "sandbox" not in query
            ):
                writes += 1
                if writes > dies_at:
                    raise Killed
            return execute(query, params, many, context)

        try:
            with connection.execute_wrapper(count):
                run_remote_classification()
            finished = True
        except Killed:
            pass
        jobs.start_over()
        make_classifications_due()
        run_remote_classification()
        for number, row in enumerate(rows):
            row.refresh_from_db()
            assert (row.status, row.flagged) == (Status.DONE, bool(number))
            get_pending_review(row)
        effect += 1
    assert effect > 4
    assert is_nothing_approved()


def test_ending_run_returns_unclassified_images_to_the_queue(
    make_asset: Any, key: Any, calls: list[int]
) -> None:
    key("sandbox-413")
    store_images(make_asset, 4)
    rows = Classification.objects.filter(status=Status.QUEUED).claim(
        limit=10, lease=remote_classification.LEASE, count_attempt=True
    )
    remote_classification.classify_batch(
        classifier=classifiers.remote()["nanogpt"], rows=rows, go_on=lambda: False
    )
    assert calls == [4, 1]
    left = Classification.objects.filter(status=Status.QUEUED)
    assert list(left.values_list("attempts", flat=True)) == [0, 0, 0]
    assert left.due().count() == 3


def test_today_and_providers_agree_when_the_classifications_are_old(
    make_asset: Any, key: Any, client_of: Any, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    key("sandbox")
    store_images(make_asset, 1)
    run_remote_classification()
    assert Classification.objects.get().status == Status.DONE
    # The state after many newer classifications of other classifiers.
    monkeypatch.setattr("moderation.presenters.providers.LOOK_BACK", 0)

    ((service, found),) = [entry for entry in providers.load_health() if entry[0].slug == "nanogpt"]

    assert found.last_success_at is not None
    today = client_of(admin).get("/").context["services"]
    assert [one.word for one in today if one.label == service.label] == ["Works"]
    assert "Not called yet" not in client_of(admin).get("/providers/").content.decode()
