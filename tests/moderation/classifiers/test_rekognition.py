"""Rekognition's classifier over a socket: from stored image to review, errors and sent images."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from PIL import Image

from generation.models import Asset, Source
from generation.providers import http
from generation.providers.rekognition import Rekognition as RekognitionClient
from generation.sandbox.cards import CARDS
from generation.wire import rekognition as wire
from moderation import classifiers, external_labels, taxonomy
from moderation.classifiers.base import Assessment, RemoteClassifier
from moderation.classifiers.rekognition import assess
from moderation.models import Classification, Decision, Policy, Review
from moderation.services import remote_classification, starting_policies
from moderation.services.starting_policies import STARTING_POLICIES
from tests.moderation.classifiers.nanogpt.helpers import (
    get_pending_review,
    is_nothing_approved,
    make_classifications_due,
    make_image,
    run_remote_classification,
)

pytestmark = pytest.mark.django_db(transaction=True)
Status = Classification.Status
PRICE = Decimal("0.001")
PAYLOADS = Path(__file__).parents[2] / "generation" / "providers" / "payloads" / "rekognition"


@pytest.fixture(autouse=True)
def key(live_server: Any, settings: Any) -> Callable[[str], None]:
    """Use the sandbox over a socket; return a function that selects a behaviour."""
    settings.CLASSIFIERS = ["rekognition"]
    classifiers.get.cache_clear()  # an instance remembers the rate limit of earlier tests
    here = f"{live_server.url}/sandbox/rekognition"
    settings.REKOGNITION = {**settings.REKOGNITION, "base_url": here}

    def use(value: str) -> None:
        settings.REKOGNITION = {**settings.REKOGNITION, "access_key_id": value}

    return use


@pytest.fixture
def generated(make_asset: Any, make_request: Any) -> Callable[..., Asset]:
    """Return a function that stores a generated image with these labels."""
    made = iter(range(1000))

    def make(*labels: tuple[str, int]) -> Asset:
        content = make_image(*labels, seed=next(made))
        return make_asset(content, source=Source.TXT2IMG, request=make_request(), position=0)

    return make


def read_payload(name: str) -> Assessment:
    body = json.loads((PAYLOADS / f"{name}.json").read_text())["body"]
    return assess(wire.ModerationReply.model_validate(body), price=PRICE)


def findings_of(assessment: Assessment) -> dict[str, Decimal | None]:
    return {finding.category: finding.confidence for finding in assessment.findings}


def add_labels(*names: tuple[str, str, float], **changes: Any) -> Assessment:
    labels = [{"Name": n, "ParentName": parent, "Confidence": c} for n, parent, c in names]
    body = {"ModerationLabels": labels, "ModerationModelVersion": "7.0", **changes}
    return assess(wire.ModerationReply.model_validate(body), price=PRICE)


# --- Translation ---
def test_third_level_counts_as_second_and_first_only_alone() -> None:
    assessment = read_payload("reply")
    assert findings_of(assessment) == {
        "violence.weapons": Decimal("98.14"),
        "explicit.nudity": Decimal("61.25"),
        "gambling": Decimal("20.00"),
    }
    assert assessment.raw["details"] == {
        "explicit.nudity": ["Exposed Female Nipple", "Exposed Buttocks or Anus"]
    }
    assert assessment.raw["model_version"] == "7.0"
    assert len(assessment.raw["labels"]) == 7
    assert set(assessment.covers.values()) == {"full"}
    assert (assessment.flagged, assessment.cost) == (None, PRICE)


def test_every_name_of_model_7_resolves_below_its_own_top_level() -> None:
    for name, *parents in wire.iter_labels():
        category = external_labels.resolve(name)
        top = external_labels.resolve(parents[-1] if parents else name)
        assert category is not None, name
        assert top is not None
        assert category.l1 == top.slug, name
        assert category.level == min(1 + len(parents), 2), name
        if len(parents) == 2:
            assert external_labels.find_detail(name) == name


@pytest.mark.parametrize(
    ("name", "level"), [("reply_clean", "full"), ("reply_illustrated", "partial")]
)
def test_illustration_lowers_the_coverage(name: str, level: str) -> None:
    assessment = read_payload(name)
    assert assessment.covers == {category.slug: level for category in taxonomy.L1}
    assert assessment.findings == ()


def test_illustration_below_half_is_a_photograph() -> None:
    kinds = [{"Name": "Illustrated", "Confidence": 49.9}]
    assert set(add_labels(ContentTypes=kinds).covers.values()) == {"full"}


def test_other_model_version_lowers_the_coverage_and_is_noted() -> None:
    assessment = read_payload("reply_version_6")
    assert set(assessment.covers.values()) == {"partial"}
    assert assessment.raw["unknown_version"] == "6.1"
    assert findings_of(assessment) == {
        "swimwear-underwear.female": Decimal("83.50"),
        "non-explicit": Decimal("83.50"),
    }
    assert "unknown_version" not in read_payload("reply").raw


def test_unknown_child_keeps_its_known_parent_and_is_a_flag() -> None:
    assessment = add_labels(("Catapults", "Violence", 25), ("Violence", "", 25))
    assert findings_of(assessment) == {"violence": Decimal("25.00")}
    assert assessment.flagged is True
    assert "Catapults" in assessment.note
    assert assessment.raw["unknown"] == ["Catapults"]


# --- From reply to review ---
def test_sandbox_images_settle_alone_and_clear_ones_need_no_person(
    generated: Callable[..., Asset],
) -> None:
    clean = [generated() for _ in range(9)]
    found = {card.slug: generated((card.slug, 90)) for card in CARDS}
    faint = generated(("violence.weapons", 19))
    run_remote_classification()

    for asset in [*clean, faint]:
        row, review = asset.classifications.get(), asset.review
        review.refresh_from_db()
        assert (row.status, row.cost, row.labels.count()) == (Status.DONE, PRICE, 0)
        assert review.status == Review.Status.APPROVED
        assert review.reason.startswith("Rekognition (sandbox) found nothing that policy version")
    for slug, asset in found.items():
        asset.review.refresh_from_db()
        label = asset.classifications.get().labels.get()
        assert (label.category, label.confidence) == (slug, 90)
        assert asset.review.top_category == slug
        assert asset.review.status in (Review.Status.PENDING, Review.Status.REJECTED)
        assert taxonomy.join_names([slug]) in asset.review.reason
        assert "at 90" in asset.review.reason
    assert Decision.objects.filter(by_policy=False).count() == 0


def test_drawing_is_left_to_a_person_by_the_starting_policy(
    generated: Callable[..., Asset], key: Any
) -> None:
    starting_policies.put_into_force(STARTING_POLICIES["rekognition"], user=None)
    photograph = generated()
    run_remote_classification()
    key("sandbox-illustrated")
    drawing = generated()
    run_remote_classification()

    assert Review.objects.get(asset=photograph).status == Review.Status.APPROVED
    row = drawing.classifications.get()
    assert (row.status, set(row.covers.values())) == (Status.DONE, {"partial"})
    names = taxonomy.join_names(category.slug for category in taxonomy.L1)
    assert get_pending_review(row).reason == (
        f"Rekognition (sandbox) found nothing, but no classifier covers fully: {names}."
    )
    assert Decision.objects.count() == 1


@pytest.mark.slow  # classifies 200 images, each by a call over a socket
def test_starting_policy_settles_a_batch_of_200(generated: Callable[..., Asset]) -> None:
    policy = starting_policies.put_into_force(STARTING_POLICIES["rekognition"], user=None)
    rejected = [card.slug for card in CARDS if card.slug in _list_rejected(policy)]
    assert len(rejected) == 6
    clean = [generated() for _ in range(140)]
    sure = {generated((slug, 96)): slug for slug in rejected * 5}
    found = {generated((card.slug, 70)): card.slug for card in CARDS[:30]}
    while len(clean) + len(sure) + len(found) < 200:
        found[generated(("explicit", 99))] = "explicit"
    for _ in range(20):
        if not Classification.objects.filter(status=Status.QUEUED).exists():
            break
        run_remote_classification()

    assert Review.objects.count() == 200
    by_status = {status: Review.objects.with_status(status) for status in Review.Status}
    assert set(by_status[Review.Status.APPROVED].values_list("asset", flat=True)) == {
        asset.pk for asset in clean
    }
    for asset, slug in sure.items():
        asset.review.refresh_from_db()
        decision = Decision.objects.get(review=asset.review)
        assert (decision.verdict, decision.by_policy) == ("reject", True)
        assert slug in decision.categories
        assert f"found {taxonomy.join_names([slug])} at 96; " in asset.review.reason
    for asset, slug in found.items():
        review = get_pending_review(asset.classifications.get())
        assert review.top_category == slug
        assert f"found {taxonomy.join_names([slug])} at " in review.reason
    assert Review.objects.waiting().count() == len(found)


def _list_rejected(policy: Policy) -> set[str]:
    return set(policy.rules.exclude(reject_at=None).values_list("category", flat=True))


def test_review_page_shows_category_and_finer_label(
    generated: Callable[..., Asset], moderator: User
) -> None:
    asset = generated(("explicit.nudity", 70))
    run_remote_classification()
    review = get_pending_review(asset.classifications.get())
    assert review.reason.startswith("Rekognition (sandbox) found Explicit Nudity at 70;")
    browser = Client()
    browser.force_login(moderator)
    page = browser.get(reverse("moderation:review-detail", args=[review.uuid])).content.decode()
    assert "Exposed Female Nipple" in page


@pytest.mark.parametrize("kind", ["unknown", "unknown-child"])
def test_unknown_label_leaves_review_pending_with_its_name(
    generated: Callable[..., Asset], key: Any, kind: str
) -> None:
    key(f"sandbox-{kind}")
    # Its confidence is below every threshold of the policy.
    asset = generated(("violence.weapons", 21))
    run_remote_classification()
    row = asset.classifications.get()
    assert (row.status, row.flagged) == (Status.DONE, True)
    assert row.raw["unknown"][0] in get_pending_review(row).reason
    assert is_nothing_approved()


# --- Errors ---
@pytest.mark.parametrize(
    ("kind", "sentence", "cost"),
    [
        ("invalid", "Check AWS_ACCESS_KEY_ID", 0),
        ("sandbox-denied", "rekognition:DetectModerationLabels", 0),
        ("sandbox-expired", "AWS_SESSION_TOKEN has expired", 0),
        ("sandbox-redirect", "Check AWS_ACCESS_KEY_ID", 0),
        ("sandbox-format", "invalid image format", 0),
        ("sandbox-too-large", "too large", 0),
        ("sandbox-parameter", "invalid parameters", 0),
        ("sandbox-html", "not in JSON", PRICE),
        ("sandbox-half", "not in JSON", PRICE),
        ("sandbox-empty", "ModerationLabels", PRICE),
        ("sandbox-nulls", "ModerationLabels", PRICE),
        ("sandbox-unversioned", "ModerationModelVersion", PRICE),
        ("sandbox-zeros", "confidence below 20", PRICE),
        ("sandbox-above", "ModerationLabels", PRICE),
        ("sandbox-words", "ModerationLabels", PRICE),
        ("sandbox-nameless", "ModerationLabels", PRICE),
        ("sandbox-twice", "cannot be read|not in a way that can be read", PRICE),
    ],
)
def test_permanent_error_leaves_review_pending_at_once(
    generated: Callable[..., Asset], key: Any, kind: str, sentence: str, cost: Decimal
) -> None:
    key(kind)
    rows = [generated(("violence.weapons", 90)).classifications.get() for _ in range(2)]
    run_remote_classification()
    for row in rows:
        row.refresh_from_db()
        assert (row.status, row.flagged, row.cost) == (Status.FAILED, None, cost)
        assert any(part in row.error for part in sentence.split("|"))
        assert f"could not judge it: {row.error}" in get_pending_review(row).reason
    assert is_nothing_approved()


@pytest.mark.parametrize("kind", ["throttled-always", "500", "502", "503"])
def test_outage_is_retried_then_review_is_pending(
    generated: Callable[..., Asset], key: Any, kind: str
) -> None:
    key(f"sandbox-{kind}")
    rows = [generated().classifications.get() for _ in range(2)]
    for _ in range(remote_classification.ATTEMPTS):
        assert not Classification.objects.exclude(status=Status.QUEUED).exists()
        run_remote_classification()
        make_classifications_due()
    run_remote_classification()
    for row in rows:
        row.refresh_from_db()
        assert (row.status, row.cost) == (Status.FAILED, 0)
        assert row.error.endswith("It was asked 9 times.")
        get_pending_review(row)
    assert is_nothing_approved()


@pytest.mark.parametrize("kind", ["throttled", "throttled-500", "flaky"])
def test_images_are_judged_after_the_outage(
    generated: Callable[..., Asset], key: Any, kind: str
) -> None:
    key(f"sandbox-{kind}")
    rows = [generated(("gambling", 90)).classifications.get(), generated().classifications.get()]
    for _ in range(3):
        run_remote_classification()
        make_classifications_due()
    for row in rows:
        row.refresh_from_db()
        assert (row.status, row.error, row.attempts) == (Status.DONE, "", 3)


def test_call_without_response_adds_its_cost(
    generated: Callable[..., Asset], key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = generated().classifications.get()
    key("sandbox-hang")
    with monkeypatch.context() as patch:
        patch.setattr(http, "SUBMIT_TIMEOUT", http.httpx.Timeout(0.3))
        patch.setattr("generation.sandbox.judging.HANGING", 0.8)
        run_remote_classification()
    row.refresh_from_db()
    assert (row.status, row.cost) == (Status.QUEUED, PRICE)
    key("sandbox")
    make_classifications_due()
    run_remote_classification()
    row.refresh_from_db()
    assert (row.status, row.cost) == (Status.DONE, 2 * PRICE)


def test_without_keys_queued_images_go_to_a_person(
    generated: Callable[..., Asset], settings: Any
) -> None:
    row = generated().classifications.get()
    settings.REKOGNITION = None
    run_remote_classification()
    row.refresh_from_db()
    assert row.status == Status.FAILED
    assert "AWS_ACCESS_KEY_ID is not set" in get_pending_review(row).reason


# --- Sent images ---
def keep_sent(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    sent: list[bytes] = []
    real = RekognitionClient.detect

    def keep(self: Any, content: bytes) -> Any:
        sent.append(content)
        return real(self, content)

    monkeypatch.setattr(RekognitionClient, "detect", keep)
    return sent


def test_png_is_sent_as_stored_and_webp_as_jpeg(
    make_asset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = keep_sent(monkeypatch)
    png = make_asset(make_image(("gambling", 80)))
    webp = io.BytesIO()
    Image.open(io.BytesIO(make_image(("alcohol", 80), seed=3))).save(webp, "WEBP", quality=90)
    other = make_asset(webp.getvalue())
    assert (png.image_type, other.image_type) == ("png", "webp")
    run_remote_classification()

    with png.rendition.open("rb") as file:
        assert sent[0] == file.read()
    assert "altered" not in png.classifications.get().raw
    assert sent[1].startswith(b"\xff\xd8\xff")
    row = other.classifications.get()
    assert row.raw["altered"] == "256 × 192 webp sent as 256 × 192 jpeg, quality 90"
    assert row.labels.get().category == "alcohol"


def test_image_above_5_mb_is_reencoded(make_asset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = keep_sent(monkeypatch)
    noise = np.random.default_rng(1).integers(0, 255, (1300, 1400, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG", compress_level=0)
    asset = make_asset(file.getvalue())
    assert asset.size > wire.BYTES_MAX
    run_remote_classification()
    row = asset.classifications.get()
    assert row.status == Status.DONE
    assert row.raw["altered"].startswith(f"1400 × 1300 {asset.image_type} sent as 1400 × 1300 jpeg")
    assert len(sent[0]) <= wire.BYTES_MAX


def test_price_is_a_setting(generated: Callable[..., Asset], settings: Any) -> None:
    settings.REKOGNITION_IMAGE_PRICE = Decimal("0.0008")
    row = generated().classifications.get()
    run_remote_classification()
    row.refresh_from_db()
    assert row.cost == Decimal("0.0008")


def test_rekognition_is_a_remote_classifier_and_classifies_one_image(make_asset: Any) -> None:
    made = classifiers.remote()["rekognition"]
    assert isinstance(made, RemoteClassifier)
    assert (
        made.classify(make_asset(make_image(("gambling", 80)))).findings[0].category == "gambling"
    )
