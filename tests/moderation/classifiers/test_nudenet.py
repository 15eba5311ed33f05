"""The local detector on synthetic images: shapes, rules and failures.

Synthetic images do not show how well it detects on real ones.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import random
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from generation.models import Asset
from moderation import taxonomy
from moderation.classifiers import nudenet
from moderation.classifiers.base import Box, ClassifierError
from moderation.classifiers.nudenet import LABELS, THRESHOLDS, Detection, Detections, NudeNet, judge
from moderation.classifiers.onnx_model import OnnxModel, forget_sessions
from moderation.classifiers.picture import Picture
from tests.generation.imaging.pictures import encoded, opened, picture


@pytest.fixture
def _model() -> None:
    """Skip the test if the optional packages are not installed."""
    pytest.importorskip(
        "onnxruntime", reason="the extra `local` (onnxruntime, AGPL weights) is not installed"
    )
    if not nudenet.MODEL.is_installed:
        pytest.skip("the extra `local` (nudenet's weights, AGPL) is not installed")


def from_image(image: Image.Image) -> Picture:
    return Picture.from_content(encoded(image, "PNG"))


def make_detections(boxes: bool = False, **scores: float) -> Detections:
    maxima = dict.fromkeys(LABELS, 0.0) | scores
    found = [
        Detection(label, score, Box(left=0.1, top=0.1, width=0.2, height=0.2))
        for label, score in scores.items()
    ]
    return Detections(maxima, tuple(found) if boxes else (), (320,))


def make_output(*rows: tuple[float, float, float, float, dict[str, float]]) -> np.ndarray:
    """Return a made-up output of the network.

    Each row is one anchor: centre x, centre y, width and height in pixels, and scores by label.
    """
    raw = np.zeros((22, len(rows)), dtype=np.float32)
    for anchor, (x, y, w, h, scores) in enumerate(rows):
        raw[:4, anchor] = x, y, w, h
        for label, score in scores.items():
            raw[4 + LABELS.index(label), anchor] = score
    return raw


def set_output(monkeypatch: pytest.MonkeyPatch, raw: Any) -> None:
    monkeypatch.setattr(
        OnnxModel, "session", lambda self: SimpleNamespace(run=lambda names, feed: [raw])
    )


# --- With the real weights ---


@pytest.mark.usefixtures("_model")
def test_real_weights_give_eighteen_scores_and_are_deterministic() -> None:
    content = encoded(picture(512, 384), "JPEG")
    first, second = (NudeNet().assess(Picture.from_content(content)) for _ in range(2))
    assert first == second
    assert tuple(first.raw["maxima"]) == LABELS
    assert all(0 <= score <= 1 for score in first.raw["maxima"].values())
    assert first.raw["sha256"] == hashlib.sha256(content).hexdigest()
    assert first.raw["model_sha256"] == nudenet.MODEL.sha256
    assert first.raw["looks"] == [320]
    assert set(first.covers) == {"explicit", "non-explicit", "swimwear-underwear"}
    assert first.cost == 0


@pytest.mark.usefixtures("_model")
def test_real_network_runs_at_both_input_sizes() -> None:
    for size in (320, 640):
        raw = nudenet._run_model(nudenet.prepare(from_image(picture(700, 200)).fit(size), size))
        assert raw.shape == (22, 2100 * (size // 320) ** 2)
    assert nudenet.detect(from_image(picture(900, 200))).looks == (320, 640)


@pytest.mark.usefixtures("_model")
def test_real_weights_score_drafted_and_full_jpeg_alike() -> None:
    content = encoded(picture(1100, 1100), "JPEG", quality=95)
    drafted = nudenet.detect(Picture.from_content(content))
    whole = nudenet.detect(from_image(opened(content)))
    assert all(abs(drafted.maxima[label] - whole.maxima[label]) < 0.02 for label in LABELS)


@pytest.mark.usefixtures("_model")
def test_real_session_is_shared_by_threads_and_not_by_forks() -> None:
    mine = nudenet.MODEL.session()
    assert nudenet.MODEL.session() is mine
    pid = os.fork()
    if pid == 0:
        os._exit(0 if nudenet.MODEL.session() is not mine else 1)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.usefixtures("_model")
def test_unknown_weights_raise_classifier_error(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "320n.onnx"
    path.write_bytes(nudenet.MODEL.locate().read_bytes()[:-1] + b"x")
    monkeypatch.setattr(OnnxModel, "locate", lambda self: path)
    forget_sessions()
    with pytest.raises(ClassifierError, match="not the ones"):
        nudenet.MODEL.session()


@pytest.mark.usefixtures("_model")
def test_nudenet_package_is_not_imported() -> None:
    import sys

    nudenet.MODEL.locate()
    assert "nudenet" not in sys.modules
    assert "cv2" not in sys.modules


# --- Pre-processing ---


def test_input_is_rgb_padded_right_and_below() -> None:
    square = nudenet.prepare(from_image(Image.new("RGB", (640, 320), (250, 100, 10))).fit(320), 320)
    assert square.shape == (1, 3, 320, 320)
    assert square.dtype == np.float32
    assert np.allclose(
        square[0, :, :160].reshape(3, -1).mean(axis=1) * 255, (250, 100, 10), atol=0.01
    )
    assert not square[0, :, 160:].any()
    tall = from_image(Image.new("RGB", (100, 400), (9, 9, 9)))
    assert not nudenet.prepare(tall.fit(320), 320)[0, :, :, 80:].any()


def test_resizing_is_antialiased() -> None:
    stripes = Image.fromarray(np.tile(np.array([[0, 255]], dtype=np.uint8), (1280, 640))).convert(
        "RGB"
    )
    assert nudenet.prepare(from_image(stripes).fit(320), 320)[0].std() < 0.05


@pytest.mark.parametrize(
    ("size", "looks"),
    [
        ((512, 512), (320,)),
        ((1280, 640), (320,)),
        ((1281, 1281), (320, 640)),
        ((601, 300), (320, 640)),
        ((1, 1), (320,)),
    ],
)
def test_large_and_long_images_use_two_input_sizes(
    size: tuple[int, int], looks: tuple[int, ...]
) -> None:
    assert nudenet.choose_input_sizes(size) == looks


# --- Post-processing ---


def test_boxes_of_different_classes_are_not_suppressed(monkeypatch: pytest.MonkeyPatch) -> None:
    here = (100.0, 100.0, 80.0, 80.0)
    raw = make_output(
        (*here, {"FEMALE_BREAST_COVERED": 0.8}),
        (*here, {"FEMALE_BREAST_EXPOSED": 0.75}),
        (*here, {"BUTTOCKS_EXPOSED": 0.6, "ANUS_EXPOSED": 0.55}),
    )
    set_output(monkeypatch, raw[None])
    found = nudenet.detect(from_image(Image.new("RGB", (320, 320))))
    assert [box.label for box in found.boxes] == [
        "FEMALE_BREAST_COVERED",
        "FEMALE_BREAST_EXPOSED",
        "BUTTOCKS_EXPOSED",
        "ANUS_EXPOSED",
    ]
    assert found.maxima["ANUS_EXPOSED"] == pytest.approx(0.55)


def test_overlapping_boxes_of_one_class_are_suppressed(monkeypatch: pytest.MonkeyPatch) -> None:
    face = "FACE_FEMALE"
    raw = make_output(
        (100, 100, 80, 80, {face: 0.6}),
        (104, 100, 80, 80, {face: 0.9}),  # the same face
        (250, 100, 80, 80, {face: 0.5}),  # another face
        (100, 250, 80, 80, {face: 0.19}),  # below the threshold for boxes
    )
    set_output(monkeypatch, raw[None])
    found = nudenet.detect(from_image(Image.new("RGB", (640, 320))))
    assert [round(box.score, 2) for box in found.boxes] == [0.9, 0.5]
    assert found.maxima[face] == pytest.approx(0.9)


def test_boxes_are_fractions_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = make_output(
        (80, 40, 160, 80, {"FACE_MALE": 0.5}), (300, 150, 200, 100, {"BELLY_EXPOSED": 0.5})
    )
    outside = make_output((160, 300, 20, 20, {"FACE_MALE": 0.9}))  # entirely in the padding
    set_output(monkeypatch, np.concatenate([raw, outside], axis=1)[None])
    first, second = nudenet.detect(from_image(Image.new("RGB", (640, 320)))).boxes
    assert first.box == Box(left=0, top=0, width=0.5, height=0.5)
    assert second.box.left == pytest.approx(0.625)
    assert second.box.left + second.box.width == pytest.approx(1)
    assert second.box.top + second.box.height == pytest.approx(1)


def test_suppression_equals_plain_loop() -> None:
    rng = random.Random(3)
    rows = np.array(
        [
            [
                rng.randrange(3),
                rng.uniform(0.2, 1),
                x := rng.uniform(0, 0.8),
                y := rng.uniform(0, 0.8),
                x + rng.uniform(0.05, 0.2),
                y + rng.uniform(0.05, 0.2),
            ]
            for _ in range(150)
        ],
        dtype=np.float32,
    )
    kept: list[np.ndarray] = []
    for row in sorted(rows, key=lambda row: -row[1]):
        rivals = [other for other in kept if other[0] == row[0]]
        if all(
            nudenet._compute_overlaps(np.stack([row[2:], other[2:]]))[0, 1] <= THRESHOLDS["overlap"]
            for other in rivals
        ):
            kept.append(row)
    fast = nudenet._suppress(rows)
    assert [(box.label, round(box.score, 5)) for box in fast] == [
        (LABELS[int(row[0])], round(float(row[1]), 5)) for row in kept
    ]


# --- The mapping ---

BREAST = "FEMALE_BREAST_EXPOSED"
BUTTOCKS = "BUTTOCKS_EXPOSED"


@pytest.mark.parametrize(
    ("scores", "expected", "flagged"),
    [
        ({}, {}, False),
        ({"FACE_FEMALE": 0.99, "FEET_EXPOSED": 0.9, "BELLY_EXPOSED": 0.9}, {}, False),
        ({"FEMALE_GENITALIA_EXPOSED": 0.5}, {"explicit.nudity": 50}, True),
        ({"MALE_GENITALIA_EXPOSED": 0.49}, {"explicit.nudity": 49}, None),
        ({"ANUS_EXPOSED": 0.2}, {"explicit.nudity": 20}, None),
        ({BREAST: 0.199}, {"non-explicit.nudity": Decimal("19.9")}, None),
        ({BREAST: 0.09}, {}, False),
        ({BUTTOCKS: 0.83}, {"explicit.nudity": 49}, None),
        ({BUTTOCKS: 0.83, "FACE_FEMALE": 0.25}, {"explicit.nudity": 83}, True),
        ({BUTTOCKS: 0.69, "FACE_FEMALE": 0.9}, {"explicit.nudity": 69}, None),
        ({BUTTOCKS: 0.3}, {"non-explicit.nudity": 30}, None),
        ({BUTTOCKS: 0.19}, {}, False),
        ({"MALE_BREAST_EXPOSED": 0.4}, {"non-explicit.nudity": 40}, None),
        (
            {"MALE_BREAST_EXPOSED": 1.0, BREAST: 0.6},
            {"explicit.nudity": 60, "non-explicit.nudity": 100},
            True,
        ),
        ({"ANUS_COVERED": 0.35}, {"non-explicit.obstructed": 35}, None),
        (
            {"FEMALE_GENITALIA_COVERED": 0.6, "BELLY_EXPOSED": 0.4},
            {"swimwear-underwear.female": 40},
            None,
        ),
        ({"FEMALE_BREAST_COVERED": 0.9}, {}, False),
        ({"FEMALE_BREAST_COVERED": 0.9, "BELLY_EXPOSED": 0.29}, {}, False),
    ],
    ids=str,
)
def test_scores_map_to_categories_and_flag(
    scores: dict[str, float], expected: dict[str, float], flagged: bool | None
) -> None:
    findings, verdict = judge(make_detections(**scores))
    assert {finding.category: float(finding.confidence) for finding in findings} == pytest.approx(
        {category: float(confidence) for category, confidence in expected.items()}
    )
    assert verdict is flagged


def test_findings_have_known_categories_within_coverage() -> None:
    rng = random.Random(5)
    for _ in range(500):
        scores = {label: rng.random() for label in LABELS}
        findings, _ = judge(make_detections(boxes=True, **scores))
        assert len({finding.category for finding in findings}) == len(findings)
        for finding in findings:
            assert taxonomy.get(finding.category).l1 in nudenet.COVERS
            assert 0 <= finding.confidence <= 100
            assert finding.box is not None


def test_mapping_uses_only_existing_labels() -> None:
    assert len(set(LABELS)) == 18
    assert {*nudenet.EXPLICIT, *nudenet.OBSTRUCTED, *nudenet.SWIMWEAR} <= set(LABELS)


def test_slug_version_and_trust() -> None:
    local = NudeNet()
    assert (local.slug, local.trusted_when_silent) == ("local", False)
    assert nudenet.MODEL.sha256[:12] in local.version
    assert f"p{nudenet.PREPROCESSING}" in local.version
    assert len(local.version) <= 40
    assert local.applies_to(Asset())


# --- Failing closed ---


@pytest.mark.parametrize(
    "raw",
    [
        np.zeros((1, 22, 0)),
        np.zeros((1, 21, 10)),
        np.zeros((22, 10)),
        np.full((1, 22, 10), np.nan),
        np.full((1, 22, 10), 2.0),
        np.full((1, 22, 10), -1.0),
        np.full((1, 22, 10), np.inf),
    ],
    ids=["no anchors", "a class short", "no batch", "nan", "above one", "below zero", "infinite"],
)
def test_malformed_network_output_raises_classifier_error(
    raw: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_output(monkeypatch, raw)
    with pytest.raises(ClassifierError):
        NudeNet().assess(Picture.from_content(encoded(picture(), "PNG")))


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"\x89PNG\r\n\x1a\n", encoded(picture(), "JPEG")[:200]]
)
def test_unreadable_files_raise_classifier_error(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_output(monkeypatch, np.zeros((1, 22, 10)))
    with pytest.raises(ClassifierError):
        NudeNet().assess(Picture.from_content(content))


@pytest.mark.parametrize(
    ("error", "retryable"),
    [(FileNotFoundError(), False), (PermissionError(), True), (OSError(5, "I/O"), True)],
)
@pytest.mark.django_db
def test_storage_errors_raise_classifier_error(error: OSError, retryable: bool) -> None:
    def open_(mode: str) -> None:
        raise error

    asset: Any = SimpleNamespace(rendition=SimpleNamespace(open=open_))
    with pytest.raises(ClassifierError) as caught:
        NudeNet().assess(Picture.from_asset(asset))
    assert caught.value.retryable is retryable


@pytest.mark.parametrize(
    "error", [RuntimeError("x"), MemoryError(), ValueError("x"), KeyError("x")]
)
def test_failing_network_raises_classifier_error(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*args: object) -> None:
        raise error

    monkeypatch.setattr(OnnxModel, "session", lambda self: SimpleNamespace(run=run))
    with pytest.raises(ClassifierError):
        NudeNet().assess(Picture.from_content(encoded(picture(), "PNG")))


def test_missing_packages_raise_error_with_instructions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ClassifierError, match="pip install"):
        nudenet.MODEL.locate()


def test_classifier_reads_stored_rendition(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixels with zero alpha are neither shown nor classified: the rendition drops them."""
    from generation.imaging.decode import decode_image

    hidden = picture(300, 300).convert("RGBA")
    hidden.putalpha(0)
    rendition = decode_image(encoded(hidden, "PNG"))
    fed: list[np.ndarray] = []

    def run(names: object, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        fed.append(feed["images"])
        return [np.zeros((1, 22, 10))]

    monkeypatch.setattr(OnnxModel, "session", lambda self: SimpleNamespace(run=run))
    assessment = NudeNet().assess(Picture.from_content(rendition.content))
    assert assessment.raw["sha256"] == rendition.sha256
    shown = np.asarray(
        Image.open(io.BytesIO(rendition.content)).resize((320, 320), Image.Resampling.BILINEAR)
    )
    assert np.allclose(fed[0][0].transpose(1, 2, 0) * 255, shown)
    assert np.unique(shown).tolist() == [128]
