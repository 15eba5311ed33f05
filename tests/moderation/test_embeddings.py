"""Embeddings of assets: when they are made, and what happens when they fail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from PIL import Image

import moderation.tasks
from generation.models import Asset
from moderation.classifiers import encoders
from moderation.classifiers.base import ClassifierError, ImageUnavailableError
from moderation.classifiers.lite0 import EfficientNetLite0
from moderation.classifiers.picture import Picture
from moderation.models import Embedding, Review
from moderation.services import embeddings
from tests.moderation.encoder_helpers import MeanColour, use_mean_colour

pytestmark = pytest.mark.django_db
MakeAsset = Callable[..., Asset]


@pytest.fixture(autouse=True)
def _encoder(settings: Any) -> Any:
    settings.CLASSIFIERS = ["opennsfw"]
    use_mean_colour(settings)
    yield
    encoders.get.cache_clear()


def make_due() -> None:
    Embedding.objects.filter(due_at__isnull=False).update(
        due_at=timezone.now() - timedelta(seconds=1)
    )


def get_row(asset: Asset) -> Embedding:
    return Embedding.objects.get(asset=asset)


def fail(monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[int]:
    """Let the encoder fail; return a list that grows by one item per call."""
    calls: list[int] = []

    def encode(self: Any, picture: Picture) -> None:
        calls.append(1)
        raise error

    monkeypatch.setattr(MeanColour, "encode", encode)
    return calls


# --- When ---


def test_image_is_embedded_along_with_its_classification(
    make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = make_asset()
    decoded: list[Any] = []
    convert = Image.Image.convert

    def note(self: Any, *arguments: Any, **named: Any) -> Any:
        decoded.append(self)
        return convert(self, *arguments, **named)

    monkeypatch.setattr(Image.Image, "convert", note)
    moderation.tasks.embed()
    assert get_row(asset).vector is None  # not due yet
    moderation.tasks.classify()

    row = get_row(asset)
    vector = encoders.unpack(row.vector)
    with asset.rendition.open("rb") as file:
        expected = encoders.encode(MeanColour(), Picture.from_content(file.read()))
    assert np.allclose(vector, expected, atol=1e-3)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-3)
    assert (row.encoder_version, row.error, row.due_at) == ("colour-1", "", None)
    assert row.finished_at is not None
    assert len(decoded) == 2  # by the classifier and the encoder together, and by this test


def test_default_encoder_embeds_images(make_asset: MakeAsset, settings: Any) -> None:
    settings.ENCODER_BACKENDS = {
        "efficientnet-lite0": "moderation.classifiers.lite0.EfficientNetLite0"
    }
    settings.ENCODER = "efficientnet-lite0"
    asset = make_asset()
    moderation.tasks.classify()
    row = get_row(asset)
    assert row.encoder_version == EfficientNetLite0.version
    assert encoders.unpack(row.vector).shape == (1280,)


def test_image_without_local_classifier_is_embedded_by_its_own_job(
    make_asset: MakeAsset, settings: Any
) -> None:
    settings.CLASSIFIERS = []
    asset = make_asset()
    moderation.tasks.embed()
    assert get_row(asset).vector is not None


def test_embedding_waits_for_classifications(make_asset: MakeAsset) -> None:
    asset = make_asset()
    make_due()
    assert not moderation.tasks.embed.is_due()
    moderation.tasks.embed()
    assert get_row(asset).attempts == 0

    asset.classifications.update(due_at=None)
    assert moderation.tasks.embed.is_due()
    moderation.tasks.embed()
    assert get_row(asset).vector is not None


def test_image_is_embedded_once(make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = make_asset()
    moderation.tasks.classify()
    before = get_row(asset)
    calls = fail(monkeypatch, RuntimeError())
    asset.classifications.update(status="queued", due_at=timezone.now())
    moderation.tasks.classify()
    moderation.tasks.embed()
    assert not calls
    assert get_row(asset).finished_at == before.finished_at


def test_no_encoder_makes_no_rows(make_asset: MakeAsset, settings: Any) -> None:
    settings.ENCODER = ""
    make_asset()
    moderation.tasks.classify()
    assert not Embedding.objects.exists()
    assert Review.objects.get().status == Review.Status.PENDING


# --- Failures ---


@pytest.mark.parametrize("error", [RuntimeError("x"), ClassifierError("It is broken."), OSError()])
def test_failing_encoder_does_not_delay_the_review(
    make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fail(monkeypatch, error)
    asset = make_asset()
    moderation.tasks.classify()
    assert asset.classifications.get().status == "done"
    assert Review.objects.get().status == Review.Status.PENDING
    row = get_row(asset)
    assert (row.vector, row.due_at) == (None, None)
    assert row.error


def test_retryable_failure_is_tried_a_limited_number_of_times(
    make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = fail(monkeypatch, MemoryError())
    asset = make_asset()
    moderation.tasks.classify()
    for _ in range(6):
        make_due()
        moderation.tasks.embed()
    row = get_row(asset)
    assert (row.due_at, row.error) == (None, "There was not enough memory to embed the image.")
    assert len(calls) == 1 + embeddings.MAX_ATTEMPTS


def test_unavailable_storage_is_not_counted_as_attempt(
    make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        fail(patch, ImageUnavailableError("The volume is not mounted."))
        asset = make_asset()
        moderation.tasks.classify()
        for _ in range(6):
            make_due()
            moderation.tasks.embed()
    row = get_row(asset)
    assert (row.attempts, row.error) == (0, "The volume is not mounted.")
    make_due()
    moderation.tasks.embed()
    assert get_row(asset).vector is not None


def test_encoder_that_kills_its_worker_is_given_up(
    make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = make_asset()
    asset.classifications.update(due_at=None)
    calls = fail(monkeypatch, RuntimeError())
    Embedding.objects.update(attempts=embeddings.MAX_ATTEMPTS)
    make_due()
    moderation.tasks.embed()
    assert not calls
    assert "crashed its worker" in get_row(asset).error


def test_row_of_another_encoder_is_given_up(make_asset: MakeAsset) -> None:
    asset = make_asset()
    asset.classifications.update(due_at=None)
    Embedding.objects.update(encoder_version="other-1")
    make_due()
    moderation.tasks.embed()
    row = get_row(asset)
    assert (row.vector, row.error) == (None, "This encoder is not in use any more.")


# --- manage.py embed ---


def run_command() -> str:
    out = StringIO()
    call_command("embed", stdout=out)
    return out.getvalue().strip()


def test_command_queues_missing_and_failed_images(
    make_asset: MakeAsset, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "CHUNK", 2)
    settings.ENCODER = ""
    old = [make_asset() for _ in range(3)]
    settings.ENCODER = "colour"
    with monkeypatch.context() as patch:
        fail(patch, RuntimeError())
        failed = make_asset()
        moderation.tasks.classify()
    done = make_asset()
    moderation.tasks.classify()
    finished = get_row(done).finished_at

    assert run_command() == "Images queued for colour-1: 4."
    moderation.tasks.embed()
    rows = Embedding.objects.filter(asset__in=[*old, failed], vector__isnull=False, error="")
    assert rows.count() == 4
    assert get_row(done).finished_at == finished
    assert run_command() == "Every image is embedded or queued for colour-1."


def test_command_embeds_again_for_another_version(
    make_asset: MakeAsset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = make_asset()
    moderation.tasks.classify()
    monkeypatch.setattr(MeanColour, "version", "colour-2")
    assert run_command() == "Images queued for colour-2: 1."
    moderation.tasks.embed()
    rows = Embedding.objects.filter(asset=asset, vector__isnull=False)
    assert {row.encoder_version for row in rows} == {"colour-1", "colour-2"}


def test_command_without_encoder_is_refused(settings: Any) -> None:
    settings.ENCODER = ""
    with pytest.raises(CommandError, match="Set ENCODER"):
        run_command()
