"""nano-gpt's sandbox over a socket: from stored image to review, errors and sent images."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from PIL import Image

import moderation.tasks
from generation.models import Asset
from generation.providers import nanogpt as client
from generation.providers.base import ProviderBusyError
from moderation import classifiers
from moderation.classifiers import nanogpt as classifier
from moderation.classifiers.base import RemoteClassifier
from moderation.models import Classification, Policy, Review
from tests.moderation.classifiers.nanogpt.helpers import (
    NSFW,
    get_pending_review,
    is_nothing_approved,
    make_image,
    run_remote_classification,
    store_images,
)
from tests.moderation.page_helpers import TRUSTING_LOCAL

pytestmark = pytest.mark.django_db(transaction=True)
Status = Classification.Status


# --- From verdict to review ---
def test_flagged_image_leaves_review_pending_without_category(
    make_asset: Any, moderator: User
) -> None:
    (row,) = store_images(make_asset, 1, flagged=(0,))
    run_remote_classification()

    row.refresh_from_db()
    assert (row.status, row.flagged, row.score, row.labels.count()) == (Status.DONE, True, None, 0)
    review = get_pending_review(row)
    assert review.reason.startswith("nano-gpt (sandbox) flagged it: no category was named.")
    assert (review.top_category, review.top_confidence) == ("", None)
    browser = Client()
    browser.force_login(moderator)
    page = browser.get(reverse("moderation:review-detail", args=[review.uuid])).content.decode()
    assert "flagged, no category" in page
    assert "NSFW score" not in page
    assert "Detects only, and in part:" in page


def test_unflagged_image_is_shown_as_not_flagged_and_not_approved(
    make_asset: Any, moderator: User
) -> None:
    Policy.objects.update(**TRUSTING_LOCAL)
    (row,) = store_images(make_asset, 1)
    run_remote_classification()

    row.refresh_from_db()
    assert (row.status, row.flagged, row.covers) == (Status.DONE, False, {"explicit": "partial"})
    review = get_pending_review(row)
    assert "no classifier checked: Explicit" in review.reason
    browser = Client()
    browser.force_login(moderator)
    assert (
        "not flagged"
        in browser.get(reverse("moderation:review-detail", args=[review.uuid])).content.decode()
    )
    assert is_nothing_approved()


def test_ten_images_per_call_each_with_own_verdict_and_cost(
    make_asset: Any, calls: list[int]
) -> None:
    rows = store_images(make_asset, 12, flagged=(3, 11))
    run_remote_classification()

    assert calls == [10, 2]
    for number, row in enumerate(rows):
        row.refresh_from_db()
        assert row.flagged is (number in (3, 11))
        assert (row.cost, row.raw["currency"], row.raw["service"]) == (
            Decimal("0.0015"),
            "USD",
            "nano-gpt (sandbox)",
        )
        assert row.raw["position"] == number % 10
        assert row.duration_ms is not None
        assert row.attempts == 1
        get_pending_review(row)


def test_local_classifiers_run_in_their_own_job(
    make_asset: Any, calls: list[int], settings: Any
) -> None:
    settings.CLASSIFIERS = ["nanogpt", "scripted"]
    settings.CLASSIFIER_BACKENDS = {
        **settings.CLASSIFIER_BACKENDS,
        "scripted": "tests.moderation.classifiers.nanogpt.test_verdicts.CleanClassifier",
    }
    asset = make_asset(make_image())
    moderation.tasks.classify()
    assert calls == []
    assert dict(asset.classifications.values_list("classifier", "status")) == {
        "nanogpt": "queued",
        "scripted": "done",
    }
    assert asset.review.status == Review.Status.CLASSIFYING

    run_remote_classification()
    asset.review.refresh_from_db()
    # The scripted classifier covers all categories, so the import rule decides.
    assert asset.review.reason.endswith("leaves imported files to people.")


class CleanClassifier:
    """A local classifier that covers all categories and finds nothing."""

    slug, label, version, trusted_when_silent = "scripted", "Scripted", "1", True

    def applies_to(self, asset: Asset) -> bool:
        return True

    def classify(self, asset: Asset) -> Any:
        from moderation import taxonomy
        from moderation.classifiers.base import Assessment, Coverage

        return Assessment(
            flagged=False, covers={category.slug: Coverage.FULL for category in taxonomy.L1}
        )


# --- Refusals ---
@pytest.mark.parametrize("kind", ["policy", "policy-object"])
def test_policy_violation_flags_only_the_refused_image(
    make_asset: Any, key: Any, calls: list[int], kind: str
) -> None:
    key(f"sandbox-{kind}")
    rows = store_images(make_asset, 4, flagged=(2,))
    run_remote_classification()

    assert calls == [4, 1, 1, 1, 1]
    for number, row in enumerate(rows):
        row.refresh_from_db()
        assert (row.status, row.flagged) == (Status.DONE, number == 2)
        get_pending_review(row)
    assert "refused" in rows[2].raw
    assert (rows[2].cost, rows[0].cost) == (0, Decimal("0.0015"))
    assert "(HTTP 400" in get_pending_review(rows[2]).reason
    assert get_pending_review(rows[2]).reason.startswith(
        "nano-gpt (sandbox) flagged it: nano-gpt (sandbox) refused the request"
    )
    assert is_nothing_approved()


def test_too_large_call_is_split(make_asset: Any, key: Any, calls: list[int]) -> None:
    key("sandbox-413")
    rows = store_images(make_asset, 3, flagged=(1,))
    run_remote_classification()
    assert calls == [3, 1, 1, 1]
    assert [Classification.objects.get(pk=row.pk).flagged for row in rows] == [False, True, False]


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("401", "Check NANOGPT_API_KEY"),
        ("402", "Insufficient balance"),
        ("403", "Check NANOGPT_API_KEY"),
        ("404", "NANOGPT_BASE_URL"),
        ("redirect", "NANOGPT_BASE_URL"),
        ("413-always", "Payload too large"),
        ("429-daily", "Daily request limit exceeded"),
        ("html", "not in JSON"),
        ("half", "not in JSON"),
        ("empty", "has_nsfw_concepts"),
        ("short", "verdicts"),
        ("long", "verdicts"),
        ("miscounted", "verdicts"),
        ("truncated", "did not classify every image"),
        ("words", "has_nsfw_concepts"),
        ("nulls", "has_nsfw_concepts"),
        ("contradiction", "contradicts itself"),
    ],
)
def test_permanent_error_leaves_review_pending_at_once(
    make_asset: Any, key: Any, kind: str, sentence: str
) -> None:
    key(f"sandbox-{kind}")
    rows = store_images(make_asset, 2, flagged=(1,))
    run_remote_classification()
    for row in rows:
        row.refresh_from_db()
        assert (row.status, row.flagged) == (Status.FAILED, None)
        assert sentence in row.error
        assert f"could not judge it: {row.error}" in get_pending_review(row).reason
    assert is_nothing_approved()


def test_malformed_response_adds_cost_and_images_are_sent_singly(
    make_asset: Any, key: Any, calls: list[int]
) -> None:
    key("sandbox-short")
    rows = store_images(make_asset, 2)
    run_remote_classification()
    assert calls == [2, 1, 1]
    assert [Classification.objects.get(pk=row.pk).cost for row in rows] == [Decimal("0.003")] * 2


@pytest.mark.parametrize("kind", ["xno", "bare", "odd-cost"])
def test_cost_without_dollar_price_is_taken_from_price_list(
    make_asset: Any, key: Any, kind: str
) -> None:
    key(f"sandbox-{kind}")
    (row,) = store_images(make_asset, 1)
    run_remote_classification()
    row.refresh_from_db()
    assert (row.status, row.cost) == (Status.DONE, Decimal("0.0015"))
    assert (row.raw["currency"], row.raw["cost"]) == (
        ("XNO", "0.001700") if kind == "xno" else ("USD", None)
    )


# --- Sent images ---
def test_stored_rendition_is_sent_unchanged(
    make_asset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = store_images(make_asset, 1)
    sent: list[Any] = []

    def keep(self: Any, images: Any) -> Any:
        sent.extend(images)
        raise ProviderBusyError("Later.")

    monkeypatch.setattr(client.NanoGpt, "classify", keep)
    run_remote_classification()
    with row.asset.rendition.open("rb") as file:
        assert sent == [(file.read(), f"image/{row.asset.image_type}")]


def test_too_large_image_is_reencoded_and_noted_in_raw(
    make_asset: Any,
) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (1100, 1400, 4), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG", compress_level=0)
    asset = make_asset(file.getvalue())
    assert asset.size > 4_000_000
    run_remote_classification()
    row = asset.classifications.get()
    assert row.status == Status.DONE
    assert row.raw["altered"].startswith(f"1400 × 1100 {asset.image_type} sent as 1400 × 1100 jpeg")


def test_missing_file_fails_only_its_own_classification(make_asset: Any) -> None:
    first, second = store_images(make_asset, 2)
    first.asset.rendition.storage.delete(first.asset.rendition.name)
    run_remote_classification()
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, first.error) == (Status.FAILED, "The stored image is missing.")
    assert second.status == Status.DONE


def test_without_api_key_queued_images_go_to_a_person(
    make_asset: Any, settings: Any, calls: list[int]
) -> None:
    (row,) = store_images(make_asset, 1)
    settings.NANOGPT = None
    run_remote_classification()
    row.refresh_from_db()
    assert (row.status, calls) == (Status.FAILED, [])
    assert "NANOGPT_API_KEY is not set" in get_pending_review(row).reason


def test_nanogpt_is_a_remote_classifier_and_classifies_one_image(make_asset: Any) -> None:
    made = classifiers.remote()["nanogpt"]
    assert isinstance(made, RemoteClassifier)
    assert isinstance(made, classifier.NanoGptVerdict)
    assert list(classifiers.remote()) == ["hma", "nanogpt", "openai", "rekognition", "vlm"]
    assert made.classify(make_asset(make_image(NSFW))).flagged is True
