"""OpenAI's classifier over a socket: from stored image to review, errors and zeros."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from generation.models import Asset, Source
from generation.providers.base import InvalidAnswerError
from generation.wire import openai as wire
from moderation import classifiers
from moderation.classifiers.base import Assessment, RemoteClassifier
from moderation.classifiers.openai import assess
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
PAYLOADS = Path(__file__).parents[2] / "generation" / "providers" / "payloads" / "openai"


@pytest.fixture(autouse=True)
def key(live_server: Any, settings: Any) -> Callable[[str], None]:
    """Use the sandbox over a socket; return a function that selects a behaviour."""
    settings.CLASSIFIERS = ["openai"]
    classifiers.get.cache_clear()  # an instance remembers the rate limit of earlier tests
    settings.OPENAI = {**settings.OPENAI, "base_url": f"{live_server.url}/sandbox/openai/v1"}

    def use(value: str) -> None:
        settings.OPENAI = {**settings.OPENAI, "api_key": value}

    return use


@pytest.fixture
def generated(make_asset: Any, make_request: Any) -> Callable[..., Classification]:
    """Return a function that stores a generated image with these labels."""
    made = iter(range(1000))

    def make(*labels: tuple[str, int]) -> Classification:
        content = make_image(*labels, seed=next(made))
        asset: Asset = make_asset(
            content, source=Source.TXT2IMG, request=make_request(), position=0
        )
        return asset.classifications.get()

    return make


def read_payload(name: str, **changes: Any) -> Assessment:
    body = json.loads((PAYLOADS / f"{name}.json").read_text())["body"]
    body["results"][0] |= changes
    return assess(wire.ModerationReply.model_validate(body), "OpenAI moderation")


# --- Translation ---
def test_scores_become_confidences_of_their_categories() -> None:
    assessment = read_payload("reply")
    assert {finding.category: finding.confidence for finding in assessment.findings} == {
        "violence": Decimal("85.99"),
        "violence.graphic": Decimal("37.01"),
    }
    assert assessment.covers == {"explicit": "partial", "violence": "partial"}
    assert (assessment.flagged, assessment.cost) == (True, 0)
    assert assessment.raw["model"] == "omni-moderation-latest"
    assert assessment.raw["result"]["category_scores"]["sexual"] == 0.000034


def test_self_harm_counts_as_graphic_violence_with_its_own_name() -> None:
    assessment = read_payload("reply_self_harm")
    assert {finding.category: finding.confidence for finding in assessment.findings} == {
        "violence.graphic": Decimal("72.00")
    }
    assert assessment.raw["details"] == {"violence.graphic": ["self-harm", "self-harm/intent"]}


def test_flagged_category_is_a_finding_at_any_score() -> None:
    body = json.loads((PAYLOADS / "reply_clean.json").read_text())["body"]["results"][0]
    assessment = read_payload(
        "reply_clean", flagged=True, categories=body["categories"] | {"sexual": True}
    )
    assert [finding.category for finding in assessment.findings] == ["explicit"]
    assert assessment.flagged is True


def test_text_categories_are_ignored() -> None:
    body = json.loads((PAYLOADS / "reply_clean.json").read_text())["body"]["results"][0]
    assessment = read_payload(
        "reply_clean",
        flagged=True,
        categories=body["categories"] | {"hate": True},
        category_scores=body["category_scores"] | {"hate": 0.9},
    )
    assert (assessment.findings, assessment.flagged) == ((), False)


@pytest.mark.parametrize(
    ("missing", "covers"),
    [
        (["sexual"], {"violence"}),
        (["violence"], {"explicit"}),
        (["violence/graphic"], {"explicit"}),
        (["self-harm"], {"explicit", "violence"}),
    ],
)
@pytest.mark.parametrize("how", ["unapplied", "absent", "zero"])
def test_category_that_was_not_looked_for_lowers_the_coverage(
    missing: list[str], covers: set[str], how: str
) -> None:
    body = json.loads((PAYLOADS / "reply_clean.json").read_text())["body"]["results"][0]
    types, scores = body["category_applied_input_types"], body["category_scores"]
    for name in missing:
        types[name] = {"unapplied": ["text"], "absent": None, "zero": ["image"]}[how]
        scores[name] = 0 if how == "zero" else 0.9
    assessment = read_payload(
        "reply_clean", category_applied_input_types=types, category_scores=scores
    )
    assert set(assessment.covers) == covers
    assert assessment.findings == ()


def test_image_that_was_not_looked_at_is_an_error() -> None:
    with pytest.raises(InvalidAnswerError, match="did not judge the image"):
        read_payload("reply_text_only")
    with pytest.raises(InvalidAnswerError, match="without a verdict for “sexual”"):
        read_payload("reply", category_scores={})
    with pytest.raises(InvalidAnswerError, match="without a verdict for “sexual”"):
        read_payload("reply", categories={})


# --- From reply to review ---
def test_finding_leaves_review_pending_and_silence_approves_nothing(
    generated: Callable[..., Classification],
) -> None:
    nude, clean = generated(("explicit.nudity", 60)), generated()
    run_remote_classification()
    nude.refresh_from_db()
    clean.refresh_from_db()
    assert (nude.status, nude.flagged, nude.cost) == (Status.DONE, True, 0)
    assert nude.labels.get().category == "explicit"
    assert get_pending_review(nude).reason.startswith(
        "OpenAI moderation (sandbox) found Explicit at 60;"
    )
    assert (clean.status, clean.flagged, clean.labels.count()) == (Status.DONE, False, 0)
    assert "no classifier checked: Explicit" in get_pending_review(clean).reason
    assert is_nothing_approved()


def test_silence_of_openai_does_not_hinder_an_approval_by_rekognition(
    make_asset: Any, make_request: Any, settings: Any, live_server: Any
) -> None:
    settings.CLASSIFIERS = ["openai", "rekognition"]
    here = f"{live_server.url}/sandbox/rekognition"
    settings.REKOGNITION = {**settings.REKOGNITION, "base_url": here}
    asset = make_asset(make_image(), source=Source.TXT2IMG, request=make_request(), position=0)
    run_remote_classification()
    asset.review.refresh_from_db()
    assert asset.review.status == "approved"


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("invalid", "Check OPENAI_API_KEY"),
        ("sandbox-401", "the key is wrong"),
        ("sandbox-403", "territory not supported"),
        ("sandbox-404", "may not use the model"),
        ("sandbox-quota", "no quota left"),
        ("sandbox-redirect", "OPENAI_BASE_URL"),
        ("sandbox-too-many", "one image per call"),
        ("sandbox-html", "not in JSON"),
        ("sandbox-half", "not in JSON"),
        ("sandbox-empty", "results"),
        ("sandbox-none", "0 results"),
        ("sandbox-two", "2 results"),
        ("sandbox-zeros", "did not judge the image"),
        ("sandbox-unapplied", "did not judge the image"),
        ("sandbox-text-only", "did not judge the image"),
        ("sandbox-above", "can be read"),
        ("sandbox-words", "can be read"),
        ("sandbox-scoreless", "without a verdict"),
        ("sandbox-contradiction", "contradicts itself"),
    ],
)
def test_permanent_error_leaves_review_pending_at_once(
    generated: Callable[..., Classification], key: Any, kind: str, sentence: str
) -> None:
    key(kind)
    rows = [generated(("violence.weapons", 90)), generated()]
    run_remote_classification()
    for row in rows:
        row.refresh_from_db()
        assert (row.status, row.flagged, row.cost) == (Status.FAILED, None, 0)
        assert sentence in row.error
        assert f"could not judge it: {row.error}" in get_pending_review(row).reason
    assert is_nothing_approved()


def test_reply_without_violence_covers_only_explicit(
    generated: Callable[..., Classification], key: Any
) -> None:
    key("sandbox-sexual-only")
    row = generated()
    run_remote_classification()
    row.refresh_from_db()
    assert (row.status, row.covers) == (Status.DONE, {"explicit": "partial"})


@pytest.mark.parametrize("kind", ["429-always", "500", "502", "503"])
def test_outage_is_retried_then_review_is_pending(
    generated: Callable[..., Classification], key: Any, kind: str
) -> None:
    key(f"sandbox-{kind}")
    row = generated()
    for _ in range(remote_classification.ATTEMPTS):
        row.refresh_from_db()
        assert row.status == Status.QUEUED
        run_remote_classification()
        make_classifications_due()
    run_remote_classification()
    row.refresh_from_db()
    assert row.status == Status.FAILED
    assert "asked 9 times" in get_pending_review(row).reason
    assert is_nothing_approved()


@pytest.mark.parametrize("kind", ["429", "flaky"])
def test_images_are_judged_after_the_outage(
    generated: Callable[..., Classification], key: Any, kind: str
) -> None:
    key(f"sandbox-{kind}")
    row = generated(("violence.graphic", 90))
    for _ in range(3):
        run_remote_classification()
        make_classifications_due()
    row.refresh_from_db()
    assert (row.status, row.error) == (Status.DONE, "")
    assert set(row.labels.values_list("category", flat=True)) == {"violence", "violence.graphic"}


def test_without_key_queued_images_go_to_a_person(
    generated: Callable[..., Classification], settings: Any
) -> None:
    row = generated()
    settings.OPENAI = None
    run_remote_classification()
    assert "OPENAI_API_KEY is not set" in get_pending_review(row).reason


def test_openai_is_a_remote_classifier(make_asset: Any) -> None:
    made = classifiers.remote()["openai"]
    assert isinstance(made, RemoteClassifier)
    assert made.classify(make_asset(make_image(("explicit", 80)))).flagged is True
