"""Zero-shot classification: compare an image with words of each category, and with others.

An image-text model compares images with texts. For each category, the similarity of the image to
the nearest of its subjects is compared with that to the nearest harmless subject or look-alike of
the category (``prompts``). The model was not trained for moderation. Its scores are not
calibrated, and what it misses is not measured: all coverage is heuristic.
"""

from __future__ import annotations

import functools
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from moderation import taxonomy
from moderation.classifiers import encoders
from moderation.classifiers.base import Assessment, Coverage, Finding
from moderation.classifiers.picture import Picture, find_squares
from moderation.classifiers.vision import installed
from moderation.classifiers.vision import prompts as words
from moderation.classifiers.vision.encoder import VisionEncoder
from moderation.classifiers.vision.known_models import Calibration
from moderation.classifiers.vision.layout import VisionModelError
from moderation.classifiers.vision.prompts import PromptSet
from moderation.classifiers.vision.towers import Floats

if TYPE_CHECKING:
    from generation.models import Asset

# Increment whenever the rules below change: results of different versions are not comparable.
RULES: Final = 1

# Scores, 0..1. At 0.5 an image is as close to a category as to the nearest other words, so a
# finding needs more than that. Neither limit was validated on labelled images.
REPORT_AT: Final = 0.5
FLAG_AT: Final = 0.8

COVERS: Final = {category.slug: Coverage.HEURISTIC for category in taxonomy.L1}


class Vision:
    """A ``PictureClassifier``."""

    slug = "vision"
    label = "Image-text model (zero-shot)"
    short_label = "Image-text"
    trusted_when_silent = False
    silence = (
        "It compares images with words of all ten categories, so it covers all of them"
        " heuristically; what it misses is not measured."
    )

    def __init__(self) -> None:
        self._encoder = VisionEncoder()

    @property
    def version(self) -> str:
        """The model, the prompts and the rules."""
        try:
            model = installed.get_chosen().digest[:12]
        except VisionModelError:
            model = "missing"
        return f"{model}-{words.PROMPTS.version[:12]}-r{RULES}"

    def applies_to(self, asset: Asset) -> bool:
        return True

    def assess(self, picture: Picture) -> Assessment:
        """Judge a canonical rendition. Raises ClassifierError."""
        model, prompts = installed.get_chosen(), words.PROMPTS
        texts = model.encode_prompts(prompts)
        views = [encoders.encode(self._encoder, picture), *self._encode_squares(picture)]
        results = [score(texts @ view, prompts, model.calibration) for view in views]
        best = {slug: max(result[slug] for result in results) for slug in prompts.categories}
        found = [slug for slug, (value, _) in best.items() if value > REPORT_AT]
        found.sort(key=lambda slug: -best[slug][0])
        return Assessment(
            findings=tuple(
                Finding(category=slug, confidence=_to_confidence(best[slug][0])) for slug in found
            ),
            flagged=_flag([value for value, _ in best.values()]),
            covers=COVERS,
            raw=self._describe(model, prompts, best, found, picture, len(views)),
        )

    def _encode_squares(self, picture: Picture) -> list[Floats]:
        """Return the vectors of the squares of a long picture; squeezed, people are too thin."""
        encode = self._encoder.encode_box
        return [
            encoders.compute(self._encoder, functools.partial(encode, picture, box))
            for box in find_squares(picture.size)
        ]

    def _describe(
        self,
        model: installed.InstalledModel,
        prompts: PromptSet,
        best: dict[str, tuple[float, str]],
        found: list[str],
        picture: Picture,
        views: int,
    ) -> dict[str, Any]:
        return {
            "scores": {slug: round(value, 4) for slug, (value, _) in best.items()},
            "nearest": {slug: best[slug][1] for slug in found},
            "views": views,
            "sha256": picture.sha256,
            "model": model.name,
            "model_sha256": model.digest,
            "prompts": prompts.version,
            "rules": RULES,
            "thresholds": {"report": REPORT_AT, "flag": FLAG_AT},
        }


def score(
    similarities: Floats, prompts: PromptSet, calibration: Calibration
) -> dict[str, tuple[float, str]]:
    """Return the score (0..1) and the nearest subject of each category, by slug.

    ``similarities``: the cosines of one image with all subjects. The categories are independent of
    each other.
    """
    cosines = dict(zip(prompts.subjects, similarities.tolist(), strict=True))
    found = {}
    for slug, subjects in prompts.categories.items():
        nearest = max(subjects, key=cosines.__getitem__)
        against = max(cosines[subject] for subject in prompts.list_against(slug))
        distance = cosines[nearest] - against
        logit = (100 * distance - calibration.bias) / calibration.temperature
        found[slug] = (_sigmoid(logit), nearest)
    return found


def _sigmoid(value: float) -> float:
    # This form cannot overflow.
    return 0.5 * (1 + math.tanh(value / 2))


def _to_confidence(value: float) -> Decimal:
    return Decimal(str(round(value * 100, 2)))


def _flag(scores: list[float]) -> bool | None:
    """Return True for a clear find, None for a doubtful one, False for none."""
    highest = max(scores)
    return True if highest >= FLAG_AT else None if highest > REPORT_AT else False
