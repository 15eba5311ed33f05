"""Classifier of the sandbox: reads the marker in sandbox pictures and judges no other images."""

from __future__ import annotations

from decimal import Decimal

from generation.models import Asset
from generation.sandbox import marker
from moderation import taxonomy
from moderation.classifiers.base import Assessment, ClassifierError, Coverage, Finding, Stage
from moderation.classifiers.picture import Picture


class Sandbox:
    """A ``PictureClassifier``."""

    slug = "sandbox"
    label = "Sandbox"
    version = "1"
    stage = Stage.DELIVERED
    trusted_when_silent = True

    def applies_to(self, asset: Asset) -> bool:
        return asset.request is not None and asset.request.provider.endswith("-sandbox")

    def assess(self, picture: Picture) -> Assessment | None:
        """Read the marker; None for a picture that is not the sandbox's."""
        labels = marker.read_marker(picture.decode())
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
