"""Novita's own detection, delivered with the image.

One score from 0 to 100 per image, without category and verdict. ``valid`` means that detection ran,
not that the image is clean. Source: https://novita.ai/docs/api-reference/model-apis-task-result.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from generation.models import Asset
from moderation import taxonomy
from moderation.classifiers.base import Assessment, ClassifierError, Coverage, Stage

COST = Decimal("0.0015")  # USD per image, https://novita.ai/docs/api-reference/model-apis-txt2img


class NovitaDetection:
    """A ``Classifier`` that reads the stored detection."""

    slug = "novita"
    label = "Novita detection"
    short_label = "Novita"
    version = "v3"
    stage = Stage.DELIVERED
    trusted_when_silent = True

    def applies_to(self, asset: Asset) -> bool:
        return asset.detection_level is not None

    def classify(self, asset: Asset) -> Assessment:
        answer, level = asset.detection, asset.detection_level
        if level is None or answer is None:
            raise ClassifierError(
                "Detection was requested, but the response has no result for this image."
            )
        if not answer.get("valid"):
            raise ClassifierError("Novita's detection did not run on this image.")
        try:
            score = Decimal(str(answer.get("confidence")))
        except InvalidOperation:
            raise ClassifierError("Novita's detection ran but gave no confidence.") from None
        if not score.is_finite() or not 0 <= score <= 100:
            raise ClassifierError(
                "Novita's detection gave a confidence outside 0 to 100:"
                f" {answer.get('confidence')}."
            )
        raw = {**answer, "level": level}
        return Assessment(
            score=score.quantize(Decimal("0.01")), covers=self.covers(level), cost=COST, raw=raw
        )

    def covers(self, level: int) -> dict[str, Coverage]:
        """Return the L1 categories of a detection level, all with full coverage.

        Also where a level leaves out single L2 categories.
        """
        return {
            taxonomy.get(slug).l1: Coverage.FULL for slug in taxonomy.list_level_categories(level)
        }
