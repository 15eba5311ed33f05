"""Scenario's labels: no scores, two vocabularies, unknown labels and late labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

import moderation.tasks
from generation.models import Asset, Source
from generation.providers.base import ProviderBusyError, ProviderError, ProviderMisconfiguredError
from generation.providers.scenario import AssetNotFoundError, Scenario, ScenarioAsset
from generation.sandbox import library
from moderation import taxonomy
from moderation.classifiers.base import ClassifierError, Coverage
from moderation.classifiers.scenario import PATIENCE, ScenarioLabels, assess
from moderation.models import Classification, Policy, Review

MakeAsset = Callable[..., Asset]
pytestmark = pytest.mark.django_db
Status = Review.Status


@pytest.fixture
def import_asset(make_asset: MakeAsset, settings: Any) -> Callable[..., Asset]:
    settings.CLASSIFIERS = ["scenario"]
    count = iter(range(1, 1000))

    def make(
        labels: Sequence[str] | None = None, age: timedelta = timedelta(), **fields: Any
    ) -> Asset:
        detection: dict[str, Any] = {} if labels is None else {"nsfw": list(labels)}
        external_id = fields.pop("external_id", f"asset_{next(count)}")
        asset = make_asset(
            source=Source.SCENARIO, external_id=external_id, detection=detection, **fields
        )
        Asset.objects.filter(pk=asset.pk).update(created_at=timezone.now() - age)
        return Asset.objects.get(pk=asset.pk)

    return make


@pytest.fixture
def set_scenario_labels(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Callable[..., list[str]]:
    """Return a function that sets Scenario's response and returns the requested asset IDs."""
    settings.SCENARIO = {
        "api_key": "k",
        "api_secret": "s",
        "base_url": "https://scenario.test/v1",
        "label": "Scenario",
    }

    def give(
        labels: tuple[str, ...] | None = None, error: ProviderError | None = None
    ) -> list[str]:
        asked: list[str] = []

        def asset(self: Scenario, asset_id: str, *, project: str = "") -> ScenarioAsset:
            asked.append(asset_id)
            if error is not None:
                raise error
            return ScenarioAsset(
                id=asset_id, url="", mime_type="image/png", kind="image", status="", nsfw=labels
            )

        monkeypatch.setattr(Scenario, "get_asset", asset)
        return asked

    return give


def classify_and_get_review(asset: Asset) -> Review:
    moderation.tasks.classify()
    return Review.objects.get(asset=asset)


# --- Labels ---
def test_labels_become_findings_without_confidence() -> None:
    found = assess(["violence", "tobacco", "drugs", "violence"])

    assert [(finding.category, finding.confidence) for finding in found.findings] == [
        ("violence", None),
        ("drugs-tobacco", None),
    ]
    assert (found.flagged, found.score, found.note) == (None, None, "")
    assert found.raw == {
        "nsfw": ["violence", "tobacco", "drugs", "violence"],
        "details": {"drugs-tobacco": ["tobacco", "drugs"]},
    }
    assert found.covers == {category.slug: Coverage.PARTIAL for category in taxonomy.L1}


def test_unknown_label_is_stored_and_flags_the_image() -> None:
    found = assess(["cosmic_dread", "alcohol"])

    assert found.flagged is True
    assert found.raw["unknown"] == ["cosmic_dread"]
    assert [finding.category for finding in found.findings] == ["alcohol"]
    assert "“cosmic_dread”" in found.note


def test_note_on_many_unknown_labels_is_shortened() -> None:
    found = assess([f"{number} {'x' * 200}" for number in range(100)])

    assert len(found.note) < 450
    assert found.note.endswith("and 95 more.")
    assert len(found.raw["unknown"]) == 100


def test_classifier_applies_only_to_assets_of_scenario(
    make_asset: MakeAsset, import_asset: MakeAsset
) -> None:
    assert not ScenarioLabels().applies_to(make_asset())
    assert ScenarioLabels().applies_to(import_asset([]))


# --- Policy ---
@pytest.mark.parametrize(
    "label", ["explicit", "explicit_nudity", "hate_symbols", "violence", "suggestive", "tobacco"]
)
def test_label_leaves_review_pending_for_a_person(import_asset: MakeAsset, label: str) -> None:
    review = classify_and_get_review(import_asset([label]))

    assert (review.status, review.top_confidence) == (Status.PENDING, None)
    assert review.top_category
    assert "asks a person because no confidence was given" in review.reason


@pytest.mark.parametrize(("review_at", "reject_at"), [(99, None), (60, 100), (1, 20)])
def test_label_leaves_review_pending_at_any_threshold(
    import_asset: MakeAsset, review_at: int, reject_at: int | None
) -> None:
    Policy.objects.active().rules.filter(category="violence").update(
        review_at=review_at, reject_at=reject_at
    )

    assert classify_and_get_review(import_asset(["violence"])).status == Status.PENDING


def test_label_without_policy_rule_is_approved(import_asset: MakeAsset) -> None:
    Policy.objects.active().rules.filter(category="alcohol").delete()

    assert classify_and_get_review(import_asset(["alcohol"])).status == Status.APPROVED
    unknown = classify_and_get_review(import_asset(["alcohol", "cosmic_dread"]))
    assert unknown.status == Status.PENDING
    assert "cosmic_dread" in unknown.reason


def test_empty_labels_are_approved(import_asset: MakeAsset) -> None:
    assert classify_and_get_review(import_asset([])).status == Status.APPROVED


@pytest.mark.parametrize("stored", ["explicit", {"a": 1}, 7, True])
def test_malformed_labels_leave_review_pending(import_asset: MakeAsset, stored: Any) -> None:
    asset = import_asset([])
    Asset.objects.filter(pk=asset.pk).update(detection={"nsfw": stored})

    review = classify_and_get_review(asset)

    assert review.status == Status.PENDING
    assert "cannot be read" in review.reason


# --- Not analysed yet ---
def test_missing_labels_are_fetched_again_later(
    import_asset: MakeAsset, set_scenario_labels: Callable[..., list[str]]
) -> None:
    asset = import_asset(None)
    asked = set_scenario_labels(None)
    assert classify_and_get_review(asset).status == Status.CLASSIFYING
    run = Classification.objects.get()
    assert (run.attempts, run.error) == (0, "Scenario has not analysed this image yet.")
    assert run.due_at is not None

    set_scenario_labels(("alcohol",))
    Classification.objects.update(due_at=timezone.now())
    review = classify_and_get_review(asset)

    assert asked == [asset.external_id]
    assert (review.status, review.top_category) == (Status.PENDING, "alcohol")
    assert Classification.objects.get().raw == {"nsfw": ["alcohol"], "asked_again": True}


def test_retry_pauses_grow_for_an_hour_then_classifier_gives_up(
    import_asset: MakeAsset, set_scenario_labels: Callable[..., list[str]]
) -> None:
    set_scenario_labels(None)
    pauses: list[float] = []
    age = timedelta()
    while age < PATIENCE:
        with pytest.raises(ClassifierError) as caught:
            ScenarioLabels().classify(import_asset(None, age=age))
        pause = caught.value.retry_after
        assert pause is not None
        pauses.append(round(pause.total_seconds(), -1))
        age += pause
    with pytest.raises(ClassifierError, match="60 minutes after it came") as caught:
        ScenarioLabels().classify(import_asset(None, age=age))

    assert caught.value.retry_after is None
    assert not caught.value.retryable
    assert pauses == sorted(pauses)
    assert 5 <= len(pauses) <= 12


def test_asset_without_analysis_is_not_approved(
    import_asset: MakeAsset, set_scenario_labels: Callable[..., list[str]]
) -> None:
    set_scenario_labels(None)
    asset = import_asset(None, age=PATIENCE)

    review = classify_and_get_review(asset)

    assert review.status == Status.PENDING
    assert "has not analysed this image" in review.reason


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ProviderBusyError("Scenario is busy.", retry_after=1200), True),
        (AssetNotFoundError("Scenario has no such asset."), False),
        (ProviderMisconfiguredError("The key is wrong."), False),
    ],
)
def test_temporary_error_is_retried_and_permanent_error_is_not(
    import_asset: MakeAsset,
    set_scenario_labels: Callable[..., list[str]],
    error: ProviderError,
    again: bool,
) -> None:
    set_scenario_labels(error=error)

    with pytest.raises(ClassifierError, match=str(error)[:20]) as caught:
        ScenarioLabels().classify(import_asset(None))

    assert caught.value.retry_after == (timedelta(seconds=1200) if again else None)


def test_without_api_key_stored_labels_count_and_missing_ones_go_to_a_person(
    import_asset: MakeAsset, settings: Any
) -> None:
    settings.SCENARIO = None

    assert classify_and_get_review(import_asset([])).status == Status.APPROVED
    review = classify_and_get_review(import_asset(None))
    assert review.status == Status.PENDING
    assert "and is off now" in review.reason


@pytest.mark.django_db(transaction=True)
def test_late_labels_are_fetched_over_a_socket(
    import_asset: MakeAsset, live_server: Any, settings: Any
) -> None:
    settings.SCENARIO = {
        "api_key": "sandbox",
        "api_secret": "sandbox",
        "base_url": f"{live_server.url}/sandbox/scenario/v1",
        "label": "Scenario (sandbox)",
    }
    late = next(
        exhibit for exhibit in library.ASSETS if exhibit.trait == library.LATE and exhibit.labels
    )
    asset = import_asset(None, external_id=late.id)

    states = []
    for _ in range(3):
        Classification.objects.filter(due_at__isnull=False).update(due_at=timezone.now())
        states.append(classify_and_get_review(asset).status)

    assert states == [Status.CLASSIFYING, Status.CLASSIFYING, Status.PENDING]
    assert Review.objects.get().top_category == "violence"


# --- At the desk ---
def test_review_page_shows_missing_confidence_and_source_details(
    import_asset: MakeAsset, moderator: User, client_of: Callable[[User], Client]
) -> None:
    notes = {
        "prompt": "a <b>quiet</b> tavern",
        "negativePrompt": "blurry",
        "modelId": "model_1",
        "seed": "602245905551964461",
        "numInferenceSteps": 28.0,
        "guidance": 3.5,
        "ownerId": "proj_1",
        "createdAt": "2026-09-01T08:00:00.000Z",
    }
    asset = import_asset(["tobacco", "gambling"], metadata={"scenario": notes})
    review = classify_and_get_review(asset)

    page = client_of(moderator).get(f"/reviews/{review.uuid}/").content.decode()

    # Each of the two labels in the list, and in the matrix.
    assert page.count('<span class="faint">no confidence given</span>') == 2
    assert "found, no confidence given" in page
    assert '<span class="small faint">no confidence given</span>' in page  # the headline
    assert '<span class="num">50</span>' not in page
    assert ">tobacco<" in page
    for text in (
        "a &lt;b&gt;quiet&lt;/b&gt; tavern",
        "blurry",
        "model_1",
        "602245905551964461",
        "28 steps, guidance 3.5",
    ):
        assert text in page
    assert "proj_1" in page
    assert "2026-09-01 08:00:00" in page
    assert asset.external_id in page
