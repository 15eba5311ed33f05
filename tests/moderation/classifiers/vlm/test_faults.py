"""Faults of the sandbox's vision model: each ends with a person and a reason."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from generation.providers import http
from moderation.models import Classification
from moderation.services import remote_classification
from tests.moderation.classifiers.nanogpt.helpers import (
    get_pending_review,
    is_nothing_approved,
    make_classifications_due,
    make_image,
    run_remote_classification,
)

pytestmark = pytest.mark.django_db(transaction=True)
Status = Classification.Status
WEAPON = ("violence.weapons", 92)


@pytest.fixture
def row(make_asset: Any) -> Classification:
    found: Classification = make_asset(make_image(WEAPON)).classifications.get()
    return found


@pytest.mark.parametrize(
    ("behaviour", "sentence"),
    [
        ("empty", "not in a way that can be read (choices)."),
        ("html", "answered, but not in JSON."),
        ("half", "answered, but not in JSON."),
        ("silent", "gave an empty answer."),
        ("refusal", "refused to judge the image. It said: I can't help with this image."),
        ("filter", "its content filter stopped it."),
        ("length", "broke off its answer at the maximum length."),
        ("cut", "an answer that is not one JSON object and nothing else."),
        ("prose", "an answer that is not one JSON object and nothing else."),
        ("obeys", "an answer that is not one JSON object and nothing else."),
        ("two", "an answer that is not one JSON object and nothing else."),
        ("clean", "an answer that lacks image_visible in the answer."),
        ("missing", "an answer that lacks violence in the answer."),
        ("extra", "an answer that has keys in the answer that were not asked for."),
        ("words", "an answer that has no whole number from 0 to 100 as violence.weapons."),
        ("101", "an answer that has no whole number from 0 to 100 as violence.weapons."),
        ("negative", "an answer that has no whole number from 0 to 100 as violence.weapons."),
        ("blind", "says that it saw no image. Check that VLM_MODEL is a model"),
        ("context", "refused the request. It said: The decoder prompt (length 10127) is"),
        ("text-only", "It said: At most 0 image(s) may be provided in one prompt (HTTP 400"),
        ("413", "refused the request. It said: Payload too large (HTTP 413"),
        ("no-format", "It said: Invalid parameter: 'response_format' of type 'json_object'"),
    ],
)
def test_unusable_answer_is_not_repeated_and_leaves_the_image_to_a_person(
    row: Classification, behave: Any, behaviour: str, sentence: str
) -> None:
    behave(behaviour)
    run_remote_classification()
    row.refresh_from_db()
    assert (row.status, row.attempts, row.flagged, row.labels.count()) == (
        Status.FAILED,
        1,
        None,
        0,
    )
    assert sentence in row.error
    assert sentence in get_pending_review(row).reason
    assert is_nothing_approved()


@pytest.mark.parametrize(
    "behaviour",
    ["401", "402", "403", "404", "redirect", "429-quota", "novita-balance", "novita-model"],
)
def test_fault_of_the_account_names_the_settings(
    row: Classification, behave: Any, behaviour: str
) -> None:
    behave(behaviour)
    run_remote_classification()
    row.refresh_from_db()
    assert (row.status, row.attempts, row.cost) == (Status.FAILED, 1, 0)
    reason = get_pending_review(row).reason
    assert "Check VLM_MODEL, VLM_BASE_URL, and the key and balance of the service." in reason


@pytest.mark.parametrize("behaviour", ["429-always", "500", "502", "503"])
def test_outage_is_repeated_and_ends_with_a_person(
    row: Classification, behave: Any, behaviour: str
) -> None:
    behave(behaviour)
    for _ in range(remote_classification.ATTEMPTS):
        row.refresh_from_db()
        assert row.status == Status.QUEUED
        run_remote_classification()
        make_classifications_due()
    row.refresh_from_db()
    assert (row.status, row.cost) == (Status.FAILED, 0)
    assert get_pending_review(row).reason.endswith("It was asked 9 times.")


def test_requested_wait_is_kept(row: Classification, behave: Any) -> None:
    behave("503")
    before = timezone.now()
    run_remote_classification()
    row.refresh_from_db()
    assert row.due_at is not None
    assert row.due_at > before + timedelta(seconds=25)  # its Retry-After is 30


@pytest.mark.parametrize("behaviour", ["429", "flaky"])
def test_image_is_judged_after_the_fault_ends(
    row: Classification, behave: Any, behaviour: str
) -> None:
    behave(behaviour)
    for _ in range(3):
        run_remote_classification()
        make_classifications_due()
    row.refresh_from_db()
    assert (row.status, row.attempts, row.error) == (Status.DONE, 3, "")
    assert [label.category for label in row.labels.all()] == ["violence.weapons"]


def test_call_without_response_is_repeated_and_its_estimated_cost_is_kept(
    row: Classification, behave: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.VLM = {**settings.VLM, "output_price": Decimal(5)}
    behave("slow")
    with monkeypatch.context() as patch:
        patch.setattr(http, "SUBMIT_TIMEOUT", 0.5)
        run_remote_classification()
    row.refresh_from_db()
    assert (row.status, row.attempts) == (Status.QUEUED, 1)
    assert "did not answer in time, or broke off." in row.error
    assert row.cost == Decimal("0.003")  # 600 tokens × 5 per million
    behave("")
    make_classifications_due()
    run_remote_classification()
    row.refresh_from_db()
    assert (row.status, row.cost) == (Status.DONE, Decimal("0.006"))


def test_unusable_answer_keeps_the_cost_of_its_tokens(
    row: Classification, behave: Any, settings: Any
) -> None:
    settings.VLM = {**settings.VLM, "output_price": Decimal(5)}
    behave("prose")
    run_remote_classification()
    row.refresh_from_db()
    assert (row.status, row.cost) == (Status.FAILED, Decimal("0.003"))


def test_unreachable_server_is_repeated(row: Classification, settings: Any) -> None:
    settings.VLM = {**settings.VLM, "base_url": "http://127.0.0.1:1/v1"}
    run_remote_classification()
    row.refresh_from_db()
    assert (row.status, row.attempts) == (Status.QUEUED, 1)
    assert "could not be reached" in row.error


@pytest.mark.parametrize("behaviour", ["no-schema", "fenced", "bare"])
def test_lesser_server_is_understood(row: Classification, behave: Any, behaviour: str) -> None:
    behave(behaviour)
    run_remote_classification()
    row.refresh_from_db()
    assert row.status == Status.DONE
    assert row.raw["response_format"] == (
        "json_object" if behaviour == "no-schema" else "json_schema"
    )
    assert [label.category for label in row.labels.all()] == ["violence.weapons"]


def test_switched_off_model_leaves_queued_images_to_a_person(
    row: Classification, settings: Any
) -> None:
    settings.VLM = None
    run_remote_classification()
    row.refresh_from_db()
    assert row.error == "The vision model is switched off: VLM_MODEL is not set."
    get_pending_review(row)
