"""The migrations since the last release, on 10,000 images, while others read the database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from generation.core.storage import asset_name, thumbnail_name
from moderation.models import Review, chain
from moderation.services.invariants import find_violations

# The last migrations of release 0.1.0.
RELEASED = [
    ("auth", "0012_alter_user_first_name_max_length"),
    ("generation", "0015_job_slots"),
    ("moderation", "0023_plain_names"),
]
IMAGES, DECIDED, REQUESTED = 10_000, 4_000, 2_000
PAGE, PAUSE = 50, 0.1  # rows, and seconds from page to page
# Rows that must be the same afterwards: each value of each of these columns.
KEPT = {
    ("generation", "GenerationRequest"): ("uuid", "status", "prompt", "seed"),
    ("generation", "Asset"): ("uuid", "sha256", "source", "request_id", "position"),
    ("generation", "RemoteImage"): ("request_id", "position", "status"),
    ("moderation", "Review"): ("uuid", "asset_id", "status", "decided_by_id", "policy_id", "risk"),
    ("moderation", "Decision"): ("uuid", "review_id", "verdict", "sequence", "hash"),
    ("moderation", "Classification"): ("asset_id", "classifier", "status", "score"),
    ("moderation", "Label"): ("classification_id", "category", "confidence"),
}
COUNTS = {
    "GenerationRequest": REQUESTED // 4,
    "Asset": IMAGES,
    "RemoteImage": REQUESTED,
    "Review": IMAGES,
    "Decision": DECIDED,
    "Classification": IMAGES,
    "Label": IMAGES,
}
OTHER = "loupe_upgrade"  # the database on PostgreSQL


@pytest.fixture
def other_database(django_db_setup: None, django_db_blocker: Any, tmp_path: Path) -> Iterator[None]:
    """Use an empty database instead of the migrated one, in all threads."""
    usual = connection.settings_dict["NAME"]
    is_file = connection.vendor == "sqlite"
    with django_db_blocker.unblock():
        if not is_file:
            _run_sql(f"CREATE DATABASE {OTHER}")
        connection.close()
        connection.settings_dict["NAME"] = tmp_path / "other.sqlite3" if is_file else OTHER
        try:
            yield
        finally:
            connection.close()
            connection.settings_dict["NAME"] = usual
            if not is_file:
                _run_sql(f"DROP DATABASE {OTHER} WITH (FORCE)")
                connection.close()


def _run_sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.slow
def test_upgrade_of_10_000_images_loses_no_row_and_disturbs_no_reader(other_database: None) -> None:
    for app, name in RELEASED:
        call_command("migrate", app, name, verbosity=0)
    released = MigrationExecutor(connection).loader.project_state(RELEASED).apps
    _fill(released)
    before = _read_kept(released)
    assert {name: len(rows) for name, rows in before.items()} == COUNTS

    with _readers(released) as pages:
        call_command("migrate", verbosity=0)

    assert not pages.errors
    assert pages.count > 0
    assert _read_kept(released) == before
    assert find_violations(files=False) == []
    assert Review.objects.filter(status=Review.Status.PENDING).count() == IMAGES - DECIDED


# --- The rows of the release ---
def _fill(released: Any) -> None:
    """Add images as the release stored them: uploaded, and of requests with four images each."""
    now = timezone.now()
    person = released.get_model("auth", "User").objects.create(username="moderator")
    requests = _add_requests(released, now)
    assets = _add(released, "generation", "Asset", (_asset(i, requests) for i in range(IMAGES)))
    policy = released.get_model("moderation", "Policy").objects.get(is_active=True)
    reviews = _add(
        released,
        "moderation",
        "Review",
        (_review(i, asset, policy, person, now) for i, asset in enumerate(assets)),
    )
    _add_decisions(released, reviews[:DECIDED], policy, person, now)
    rejected = reviews[1:DECIDED:2]
    named = ({"category": "gambling", "asset_id": review.asset_id} for review in rejected)
    _add(released, "moderation", "NamedCategory", named)
    runs = _add(
        released,
        "moderation",
        "Classification",
        (
            {
                "asset_id": asset.pk,
                "classifier": "sandbox",
                "version": "1",
                "status": "done",
                "score": 40,
                "finished_at": now,
            }
            for asset in assets
        ),
    )
    labels = (
        {"classification_id": run.pk, "category": "gambling", "confidence": 40} for run in runs
    )
    _add(released, "moderation", "Label", labels)


def _add(released: Any, app: str, name: str, rows: Iterator[dict[str, Any]]) -> list[Any]:
    model = released.get_model(app, name)
    model.objects.bulk_create((model(**row) for row in rows), batch_size=500)
    return list(model.objects.order_by("pk"))


def _add_requests(released: Any, now: Any) -> list[Any]:
    requests = _add(
        released,
        "generation",
        "GenerationRequest",
        (
            {
                "provider": "novita",
                "provider_task_id": f"task-{number}",
                "status": "succeeded",
                "progress": 100,
                "model_name": "m",
                "prompt": f"a quiet harbour, take {number}",
                "width": 512,
                "height": 512,
                "image_num": 4,
                "steps": 20,
                "guidance_scale": "7.5",
                "sampler_name": "Euler a",
                "seed": number,
                "response_image_type": "png",
                "webhook_digest": f"{number:064x}",
                "cost": 1,
                "submitted_at": now,
                "finished_at": now,
            }
            for number in range(REQUESTED // 4)
        ),
    )
    steps = ("queued", "submitting", "processing", "fetching", "succeeded")
    _add(
        released,
        "generation",
        "RequestTransition",
        (
            {"request_id": request.pk, "old": old, "new": new}
            for request in requests
            for old, new in zip(("", *steps), steps, strict=False)
        ),
    )
    _add(
        released,
        "generation",
        "RemoteImage",
        (
            {
                "request_id": request.pk,
                "position": position,
                "status": "stored",
                "url": "https://images.example/1.png",
                "expires_at": now,
                "image_type": "png",
            }
            for request in requests
            for position in range(4)
        ),
    )
    return requests


def _asset(number: int, requests: list[Any]) -> dict[str, Any]:
    digest = f"{number:064x}"
    origin: dict[str, Any] = {"source": "upload"}
    if number < REQUESTED:
        position = number % 4
        origin = {"source": "txt2img", "request_id": requests[number // 4].pk, "position": position}
    return {
        **origin,
        "rendition": asset_name(digest, "webp"),
        "thumbnail": thumbnail_name(digest),
        "preview": "data:image/webp;base64,",
        "image_type": "webp",
        "width": 512,
        "height": 512,
        "size": 1000,
        "sha256": digest,
        "pdq": None,
        "source_type": "png",
        "source_sha256": digest,
        "source_bytes": 2000,
    }


def _review(number: int, asset: Any, policy: Any, person: Any, now: Any) -> dict[str, Any]:
    verdict = {"status": "pending"}
    if number < DECIDED:
        status = "rejected" if number % 2 else "approved"
        verdict = {"status": status, "decided_at": now, "decided_by_id": person.pk}
    return {
        **verdict,
        "asset_id": asset.pk,
        "policy_id": policy.pk,
        "source": asset.source,
        "risk": 40,
        "top_category": "gambling",
        "top_category_l1": "gambling",
        "top_confidence": 40,
    }


def _add_decisions(released: Any, reviews: list[Any], policy: Any, person: Any, now: Any) -> None:
    head = released.get_model("moderation", "ChainHead").objects.get(pk=1)
    rows: list[dict[str, Any]] = []
    for number, review in enumerate(reviews):
        row: dict[str, Any] = {
            "uuid": UUID(int=number + 1),
            "review_id": review.pk,
            "verdict": "reject" if number % 2 else "approve",
            "categories": ["gambling"] if number % 2 else [],
            "note": "",
            "reviewer_id": person.pk,
            "reviewer_name": person.username,
            "policy_id": policy.pk,
            "policy_in_force_id": policy.pk,
            "by_policy": False,
            "seconds": None,
            "reverses_id": None,
            "second_of_id": None,
            "batch": None,
            "created_at": now + timedelta(microseconds=number),
            "sequence": head.sequence + 1,
            "previous_hash": head.hash,
        }
        by_name = {name.removesuffix("_id"): value for name, value in row.items()}
        row["hash"] = chain.hash_unsigned({**by_name, "is_blurred": False})
        head.sequence, head.hash = row["sequence"], row["hash"]
        rows.append(row)
    _add(released, "moderation", "Decision", iter(rows))
    head.save()


def _read_kept(released: Any) -> dict[str, list[Any]]:
    """Read the rows with the models of the release, whose columns must still be there."""
    return {
        name: list(released.get_model(app, name).objects.order_by("pk").values_list(*columns))
        for (app, name), columns in KEPT.items()
    }


# --- Readers ---
class _Pages:
    """The reads and the errors of all readers."""

    def __init__(self) -> None:
        self.count, self.errors = 0, list[str]()


@contextmanager
def _readers(released: Any) -> Iterator[_Pages]:
    """Read pages of the queue and of the record all the time, as servers of the release do."""
    pages, stop = _Pages(), threading.Event()
    review, decision = (released.get_model("moderation", name) for name in ("Review", "Decision"))

    def read_queue() -> bool:
        rows = review.objects.filter(status="pending").select_related("asset__request")
        return len(rows.order_by("-risk", "created_at", "pk")[:PAGE]) == PAGE

    def read_record() -> bool:
        rows = decision.objects.select_related("review__asset").order_by("-sequence")
        return [row.sequence for row in rows[:PAGE]] == list(range(DECIDED, DECIDED - PAGE, -1))

    def read(page: Callable[[], bool]) -> None:
        try:
            while not stop.wait(PAUSE):
                if not page():
                    pages.errors.append(f"{page.__name__}: rows are missing")
                    return
                pages.count += 1
        except Exception as error:
            pages.errors.append(f"{page.__name__}: {error!r}")
        finally:
            connection.close()

    threads = [threading.Thread(target=read, args=(page,)) for page in (read_queue, read_record)]
    for thread in threads:
        thread.start()
    try:
        yield pages
    finally:
        stop.set()
        for thread in threads:
            thread.join()
