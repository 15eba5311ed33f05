"""Classifier of the sandbox: reads the marker in sandbox pictures and judges no other images."""

from __future__ import annotations

import io
from decimal import Decimal

from PIL import Image

from generation.models import Asset
from generation.sandbox import marker
from moderation import taxonomy
from moderation.classifiers.base import (
    Assessment,
    ClassifierError,
    Coverage,
    Finding,
    read_rendition,
)


class Sandbox:
    """A ``BytesClassifier``."""

    slug = "sandbox"
    label = "Sandbox"
    version = "1"
    trusted_when_silent = True

    def applies_to(self, asset: Asset) -> bool:
        return asset.request is not None and asset.request.provider.endswith("-sandbox")

    def classify(self, asset: Asset) -> Assessment:
        assessment = self.assess(read_rendition(asset))
        if assessment is None:
            raise ClassifierError(
                "This is not a picture of the sandbox, and the sandbox cannot classify others."
            )
        return assessment

    def assess(self, content: bytes) -> Assessment | None:
        """Read the marker; None for a picture that is not the sandbox's."""
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as image:
            labels = marker.read_marker(image.convert("RGB"))
        if labels is None:
            return None
        unknown = [slug for slug, _ in labels if slug not in taxonomy.CATEGORIES]
        if unknown:
            raise ClassifierError(
                f"The sandbox names a category that the taxonomy lacks: {unknown[0]}."
            )
        findings = tuple(
            Finding(category=slug, confidence=Decimal(confidence)) for slug, confidence in labels
        )
        covers = {category.slug: Coverage.FULL for category in taxonomy.L1}
        return Assessment(
            findings=findings, flagged=bool(findings), covers=covers, raw={"marker": labels}
        )
