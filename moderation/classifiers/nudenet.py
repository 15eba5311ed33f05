"""Local detector: NudeNet's 320n weights with Loupe's own pre- and postprocessing.

The package's own pipeline feeds the network BGR, resizes without antialiasing, and lets one class
hide another. Therefore only its weights are used: the ONNX file is located without importing the
package. The weights are AGPL-3.0 (extra ``local``).

The network is a YOLOv8n. Input: [1, 3, H, W], RGB 0..1. Output: [1, 4 + 18, anchors], that is
centre x, centre y, width, height in input pixels, then 18 independent class scores. It sees only
nudity, is nearly blind on drawings, and says "nothing found", never "safe".
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from moderation.classifiers.base import (
    Assessment,
    Box,
    ClassifierError,
    Coverage,
    Finding,
)
from moderation.classifiers.onnx_model import OnnxModel
from moderation.classifiers.picture import Picture, Pixels

if TYPE_CHECKING:
    from generation.models import Asset

MODEL: Final = OnnxModel(
    owner="The local detector",
    package="nudenet",
    file="320n.onnx",
    sha256="c15d8273adad2d0a92f014cc69ab2d6c311a06777a55545f2c4eb46f51911f0f",
    requirement="nudenet==3.4.2",
)
# Increment whenever the network's input or the rules below change: results of different versions
# are not comparable.
PREPROCESSING: Final = 1
RULES: Final = 1

LABELS: Final = (
    "FEMALE_GENITALIA_COVERED",
    "FACE_FEMALE",
    "BUTTOCKS_EXPOSED",
    "FEMALE_BREAST_EXPOSED",
    "FEMALE_GENITALIA_EXPOSED",
    "MALE_BREAST_EXPOSED",
    "ANUS_EXPOSED",
    "FEET_EXPOSED",
    "BELLY_COVERED",
    "FEET_COVERED",
    "ARMPITS_COVERED",
    "ARMPITS_EXPOSED",
    "FACE_MALE",
    "BELLY_EXPOSED",
    "MALE_GENITALIA_EXPOSED",
    "ANUS_COVERED",
    "FEMALE_BREAST_COVERED",
    "BUTTOCKS_COVERED",
)

# All thresholds, on the detector's uncalibrated scale of 0..1. The values are initial ones and not
# validated on real targets. A finding is only a report; the policy decides what happens to it.
THRESHOLDS: Final = {
    "box": 0.20,  # boxes below this score are dropped
    # Intersection over union: of two boxes of a class above it, the weaker one is dropped.
    "overlap": 0.45,
    "explicit": 0.20,  # genitals, anus, female breast: reported
    "explicit.flag": 0.50,  # a verdict
    "buttocks": 0.35,  # reported as explicit; below that, as partly bare
    # A verdict only together with another label: round shapes of any kind score up to 0.83.
    "buttocks.flag": 0.70,
    "company": 0.25,  # minimum score of the other label: any part of a body, or a face
    "buttocks.alone": 0.49,  # maximum confidence without another label
    "male-breast": 0.40,
    "partial.buttocks": 0.20,
    "partial.breast": 0.10,
    "obstructed": 0.35,  # "covered" means any clothing, so this is weak
    "swimwear": 0.30,  # minimum score of both a covered part and a bare belly
}

# Labels by category. All other labels are context: a person is in the picture.
EXPLICIT: Final = (
    "FEMALE_GENITALIA_EXPOSED",
    "MALE_GENITALIA_EXPOSED",
    "ANUS_EXPOSED",
    "FEMALE_BREAST_EXPOSED",
)
OBSTRUCTED: Final = ("ANUS_COVERED", "FEMALE_GENITALIA_COVERED")
SWIMWEAR: Final = ("FEMALE_GENITALIA_COVERED", "FEMALE_BREAST_COVERED", "BUTTOCKS_COVERED")
# Not covered: sexual activity, toys, kissing, and the other seven L1 categories.
COVERS: Final = {
    "explicit": Coverage.PARTIAL,
    "non-explicit": Coverage.PARTIAL,
    "swimwear-underwear": Coverage.HEURISTIC,
}

_INPUT_SIZE: Final = 320  # pixels; the size that the network was trained on
# Pixels. A second pass at four times the cost finds small parts in large or long images.
_LARGE_INPUT_SIZE: Final = 640
_LARGE: Final = 1280  # pixels
_LONG: Final = 2  # longer side to shorter side
# Input size to draft size: a JPEG is decoded no larger than needed, but larger than the input.
_DRAFT_SIZES: Final = {_INPUT_SIZE: 512, _LARGE_INPUT_SIZE: 1280}
_CANDIDATES: Final = 300  # boxes per class that are compared with each other, strongest first

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Detection:
    """A box of the detector."""

    label: str
    score: float  # 0..1
    box: Box


@dataclass(frozen=True, slots=True)
class Detections:
    """The results of all passes over one image."""

    maxima: dict[str, float]  # the highest score of every label, 0..1, also below the thresholds
    boxes: tuple[Detection, ...]  # strongest first
    looks: tuple[int, ...]  # input sizes in pixels


class NudeNet:
    """A ``PictureClassifier``."""

    slug = "local"
    label = "Local detector (NudeNet 320n)"
    short_label = "NudeNet"
    version = f"320n-{MODEL.sha256[:12]}-p{PREPROCESSING}-r{RULES}"
    trusted_when_silent = False
    silence = "It detects only nudity, hardly in drawings, and misses much; swimwear only by hints."

    def applies_to(self, asset: Asset) -> bool:
        return True

    def assess(self, picture: Picture) -> Assessment:
        return assess(picture)


def assess(picture: Picture) -> Assessment:
    """Judge a canonical rendition. Raises ClassifierError."""
    try:
        detections = detect(picture)
    except ClassifierError:
        raise
    except MemoryError as error:
        raise ClassifierError(
            "There was not enough memory to classify the image.", retryable=True
        ) from error
    # ONNX Runtime raises many exception types; none may pass as "nothing found".
    except Exception as error:
        raise ClassifierError(f"The local detector failed ({type(error).__name__}).") from error
    findings, flagged = judge(detections)
    return Assessment(
        findings=findings,
        flagged=flagged,
        covers=COVERS,
        raw={
            "maxima": {label: round(score, 4) for label, score in detections.maxima.items()},
            "boxes": [
                {
                    "label": found.label,
                    "score": round(found.score, 4),
                    "box": [
                        round(side, 4)
                        for side in (
                            found.box.left,
                            found.box.top,
                            found.box.width,
                            found.box.height,
                        )
                    ],
                }
                for found in detections.boxes
            ],
            "looks": list(detections.looks),
            "sha256": picture.sha256,
            "model_sha256": MODEL.sha256,
            "preprocessing": PREPROCESSING,
            "rules": RULES,
            "thresholds": dict(THRESHOLDS),
        },
    )


def detect(picture: Picture) -> Detections:
    """Run the network on a picture.

    Raises ClassifierError if the output is invalid.
    """
    width, height = picture.size
    looks = choose_input_sizes(picture.size)
    at_least = _DRAFT_SIZES[looks[-1]]
    maxima = np.zeros(len(LABELS), dtype=np.float32)
    boxes: list[Floats] = []
    for size in looks:
        output = _run_model(prepare(picture.fit(size, at_least=at_least), size))
        maxima = np.maximum(maxima, output[4:].max(axis=1))
        boxes.append(
            _find_candidates(output, scale=size / max(width, height), size=(width, height))
        )
    return Detections(
        maxima={label: float(score) for label, score in zip(LABELS, maxima, strict=True)},
        boxes=_suppress(np.concatenate(boxes)),
        looks=looks,
    )


def choose_input_sizes(size: tuple[int, int]) -> tuple[int, ...]:
    """Return the input sizes of the passes over an image of this size."""
    short, long = sorted(size)
    return (
        (_INPUT_SIZE, _LARGE_INPUT_SIZE)
        if long > _LARGE or long > _LONG * short
        else (_INPUT_SIZE,)
    )


def prepare(pixels: Pixels, size: int) -> Floats:
    """Return the network's input: [1, 3, size, size], RGB 0..1.

    The pixels, whose longer side has this size, are padded with black at the right or bottom.
    """
    height, width = pixels.shape[:2]
    square = np.zeros((1, 3, size, size), dtype=np.float32)
    square[0, :, :height, :width] = pixels.astype(np.float32).transpose(2, 0, 1) / 255
    return square


def _run_model(square: Floats) -> Floats:
    """Return the network's output [22, anchors].

    Raises ClassifierError for another shape or values outside 0..1.
    """
    output = np.asarray(MODEL.session().run(None, {"images": square})[0], dtype=np.float32)
    if output.ndim != 3 or output.shape[:2] != (1, 4 + len(LABELS)) or output.shape[2] == 0:
        raise ClassifierError("The local detector's model returned output of an unexpected shape.")
    scores = output[0, 4:]
    # This form also rejects NaN.
    if not (np.isfinite(output).all() and scores.min() >= 0 and scores.max() <= 1):
        raise ClassifierError("The local detector's model returned invalid scores.")
    found: Floats = output[0]
    return found


def _find_candidates(output: Floats, *, scale: float, size: tuple[int, int]) -> Floats:
    """Return [n, 6]: label index, score, and left, top, right, bottom as fractions of the image.

    An anchor counts for every label above the threshold: with only the best label, COVERED would
    hide EXPOSED.
    """
    labels, anchors = np.nonzero(output[4:] >= THRESHOLDS["box"])
    x, y, w, h = output[:4, anchors]
    extent = np.array(size, dtype=np.float32) * scale
    corners = np.stack(
        [
            (x - w / 2) / extent[0],
            (y - h / 2) / extent[1],
            (x + w / 2) / extent[0],
            (y + h / 2) / extent[1],
        ]
    )
    rows = np.stack(
        [labels.astype(np.float32), output[4 + labels, anchors], *corners.clip(0, 1)], axis=1
    )
    # Boxes entirely in the padding have no extent left.
    return rows[(rows[:, 4] > rows[:, 2]) & (rows[:, 5] > rows[:, 3])]


def _suppress(rows: Floats) -> tuple[Detection, ...]:
    """Apply non-maximum suppression within each label; return the rest, strongest first."""
    kept: list[Floats] = []
    for label in np.unique(rows[:, 0]):
        mine = rows[rows[:, 0] == label]
        mine = mine[np.argsort(-mine[:, 1], kind="stable")][:_CANDIDATES]
        overlaps = _compute_overlaps(mine[:, 2:])
        alive = np.ones(len(mine), dtype=bool)
        for index in range(len(mine)):
            if alive[index]:
                alive[index + 1 :] &= overlaps[index, index + 1 :] <= THRESHOLDS["overlap"]
        kept.extend(mine[alive])
    kept.sort(key=lambda row: (-float(row[1]), float(row[0])))
    return tuple(
        Detection(
            label=LABELS[int(row[0])],
            score=float(row[1]),
            box=Box(
                left=float(row[2]),
                top=float(row[3]),
                width=float(row[4] - row[2]),
                height=float(row[5] - row[3]),
            ),
        )
        for row in kept
    )


def _compute_overlaps(corners: Floats) -> Floats:
    """Return [n, n]: intersection over union of every pair of [n, 4] left, top, right, bottom."""
    low = np.maximum(corners[:, None, :2], corners[None, :, :2])
    high = np.minimum(corners[:, None, 2:], corners[None, :, 2:])
    shared = (high - low).clip(0).prod(axis=2)
    areas = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    union = areas[:, None] + areas[None, :] - shared
    found: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return found


def judge(detections: Detections) -> tuple[tuple[Finding, ...], bool | None]:
    """Map scores to findings, one per category, and a verdict.

    The verdict is True from the flag thresholds on, False without any finding, and None in between.
    """
    scores, limit = detections.maxima, THRESHOLDS
    found: list[tuple[str, float, str]] = []  # category, score, label of the shown box
    flagged = False

    best = max(EXPLICIT, key=scores.__getitem__)
    explicit, shown = scores[best] if scores[best] >= limit["explicit"] else 0.0, best
    flagged |= explicit >= limit["explicit.flag"]
    buttocks = scores["BUTTOCKS_EXPOSED"]
    if buttocks >= limit["buttocks"]:
        company = (
            max(score for label, score in scores.items() if label != "BUTTOCKS_EXPOSED")
            >= limit["company"]
        )
        flagged |= company and buttocks >= limit["buttocks.flag"]
        believed = buttocks if company else min(buttocks, limit["buttocks.alone"])
        if believed > explicit:
            explicit, shown = believed, "BUTTOCKS_EXPOSED"
    if explicit:
        found.append(("explicit.nudity", explicit, shown))

    partial = _find_partial(scores)
    if partial:
        found.append(("non-explicit.nudity", *partial))
    obstructed = max(OBSTRUCTED, key=scores.__getitem__)
    swimwear = max(SWIMWEAR, key=scores.__getitem__)
    dressed = min(scores[swimwear], scores["BELLY_EXPOSED"])
    if dressed >= limit["swimwear"]:
        found.append(("swimwear-underwear.female", dressed, swimwear))
    elif scores[obstructed] >= limit["obstructed"]:
        found.append(("non-explicit.obstructed", scores[obstructed], obstructed))
    findings = tuple(_build_finding(*entry, detections) for entry in found)
    return findings, True if flagged else None if findings else False


def _find_partial(scores: dict[str, float]) -> tuple[float, str] | None:
    """Return score and label of the strongest sign of partly bare skin, or None.

    Higher scores of the same labels count as explicit.
    """
    limit = THRESHOLDS
    signs = [
        ("MALE_BREAST_EXPOSED", limit["male-breast"], 1.01),
        ("BUTTOCKS_EXPOSED", limit["partial.buttocks"], limit["buttocks"]),
        ("FEMALE_BREAST_EXPOSED", limit["partial.breast"], limit["explicit"]),
    ]
    seen = [(scores[label], label) for label, low, high in signs if low <= scores[label] < high]
    return max(seen, default=None)


def _build_finding(category: str, score: float, label: str, detections: Detections) -> Finding:
    box = next((found.box for found in detections.boxes if found.label == label), None)
    return Finding(category=category, confidence=Decimal(str(round(score * 100, 2))), box=box)
