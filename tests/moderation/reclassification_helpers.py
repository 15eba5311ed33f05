"""A steered classifier, and helpers that store images and run the jobs."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar

from django.utils import timezone

import moderation.tasks
from generation.models import Asset
from moderation import taxonomy
from moderation.classifiers.base import Assessment, ClassifierError, Coverage, Finding
from moderation.models import Classification, Reclassification, Resettlement, Review

MakeAsset = Callable[..., Asset]
FULL = {category.slug: Coverage.FULL for category in taxonomy.L1}


class Steered:
    """A local classifier that covers everything and returns what a test has set."""

    slug, label, trusted_when_silent = "steered", "Steered", True
    version = "1"
    # Confidence of "explicit" by asset; None: it fails. Without an entry it finds nothing.
    results: ClassVar[dict[int, int | None]] = {}
    cost = Decimal(0)
    price = Decimal(0)

    def applies_to(self, asset: Asset) -> bool:
        return True

    def classify(self, asset: Asset) -> Assessment:
        confidence = self.results.get(asset.pk, 0)
        if confidence is None:
            raise ClassifierError("The steered classifier fails.")
        found = [Finding(category="explicit", confidence=Decimal(confidence))] if confidence else []
        return Assessment(findings=tuple(found), covers=FULL, cost=self.cost)


def use_steered(settings: Any) -> None:
    settings.CLASSIFIER_BACKENDS = {
        **settings.CLASSIFIER_BACKENDS,
        "steered": "tests.moderation.reclassification_helpers.Steered",
    }
    settings.CLASSIFIERS = ["steered"]


def store(make_asset: MakeAsset, result: int | None = 0) -> Asset:
    """Store an image and run the classifier with this result."""
    asset = make_asset()
    Steered.results[asset.pk] = result
    moderation.tasks.classify()
    return asset


def get_review(asset: Asset) -> Review:
    return Review.objects.get(asset=asset)


def get_run(asset: Asset) -> Classification:
    return Classification.objects.get(asset=asset, version=Steered.version)


def make_due() -> None:
    """Make every row due, as if the pauses between steps had passed."""
    for model in (Reclassification, Resettlement):
        model.objects.filter(due_at__isnull=False).update(due_at=timezone.now())


def run_jobs(rounds: int = 4) -> None:
    for _ in range(rounds):
        moderation.tasks.reclassify()
        moderation.tasks.classify()
        moderation.tasks.resettle()
        make_due()
