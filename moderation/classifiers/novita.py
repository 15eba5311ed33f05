"""Novita's own detection, which came with the image
(https://novita.ai/docs/api-reference/model-apis-task-result).

One number from 0 to 100 per image, no category and no verdict. ``valid`` says that detection ran,
not that the image is clean.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from generation.models import Asset
from moderation import taxonomy
from moderation.classifiers.base import Assessment, ClassifierError, Coverage

COST = Decimal("0.0015")  # USD per image, https://novita.ai/docs/api-reference/model-apis-txt2img


class NovitaDetection:
    slug = "novita"
    label = "Novita detection"
    version = "v3"
    trusted_when_silent = True

    def applies_to(self, asset: Asset) -> bool:
        return asset.detection_level is not None

    def classify(self, asset: Asset) -> Assessment:
        answer, level = asset.detection, asset.detection_level
        if level is None or answer is None:
            raise ClassifierError(
                "Detection was asked for, but the answer holds none for this image."
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
        """The L1 categories of a detection level: whole, except where a level stops short of an
        L2.
        """
        return {taxonomy.get(slug).l1: Coverage.FULL for slug in taxonomy.level_categories(level)}
