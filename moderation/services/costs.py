"""Costs of classification that are billed separately from generation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from urllib.parse import urlsplit

from django.conf import settings
from django.core.cache import caches
from django.db.models import Avg, Count, Max, Q, Sum

from moderation import classifiers
from moderation.models import Classification
from moderation.services.classification import EARLIER

# Novita's detection is part of the generation request, and of its price.
BILLED_WITH_IMAGE = ("novita",)
FREE = ("openai", "hma")
# Newest classifications of all classifiers that an average price is taken from. There is no index
# on the classifier.
LOOK_BACK = 20_000
CACHE_SECONDS = 10  # seconds; the sum is needed before each submission and has no index


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The price of asking a classifier about one image."""

    usd: Decimal
    is_measured: bool = False  # else the list price

    def describe(self, images: int) -> str:
        """Return the price of some images in words."""
        if not self.usd:
            return "0 USD: it is free, or its price is not known"
        kind = "the measured average" if self.is_measured else "the list price"
        return f"{images * self.usd:.2f} USD, at {kind} of {self.usd.normalize():f} USD an image"


def find_price(slug: str) -> Price:
    """Return the average cost of a classifier's newest runs, or its list price."""
    if slug in list_unbilled():
        return Price(usd=Decimal(0))
    newest = Classification.objects.aggregate(pk=Max("pk"))["pk"] or 0
    asked = Q(status=Classification.Status.DONE) | Q(status=Classification.Status.FAILED)
    rows = Classification.objects.filter(asked, pk__gt=newest - LOOK_BACK, classifier=slug)
    # The cost of a repeated run includes that of the earlier ones.
    once = rows.exclude(reclassification__isnull=False, raw__has_key=EARLIER)
    average: Decimal | None = (
        once.aggregate(usd=Avg("cost"))["usd"] or rows.aggregate(usd=Avg("cost"))["usd"]
    )
    if average is None:
        return Price(usd=classifiers.list_price(slug))
    return Price(usd=round(average, 6), is_measured=True)


def count_images_and_cost(classifier: str, since: datetime) -> tuple[int, Decimal | None]:
    """Return the number of images classified since then and their cost in USD.

    The cost is None if the classifier bills nothing.
    """
    rows = Classification.objects.filter(classifier=classifier, finished_at__gte=since).exclude(
        status=Classification.Status.SKIPPED
    )
    if classifier in list_unbilled():
        return rows.count(), None
    found = rows.aggregate(images=Count("pk"), usd=Sum("cost"))
    return found["images"], found["usd"] or Decimal(0)


def sum_billed(since: datetime) -> Decimal:
    """Return the cost in USD of all classifiers since a timestamp."""
    key = f"classifier-costs:{since:%Y-%m-%dT%H:%M}"
    found: Decimal | None = caches["figures"].get(key)
    if found is None:
        # Queued runs have a cost if an attempt failed, or if they were ordered again.
        queued = Q(status=Classification.Status.QUEUED, due_at__isnull=False)
        rows = Classification.objects.filter(Q(finished_at__gte=since) | queued).exclude(
            classifier__in=list_unbilled()
        )
        found = rows.aggregate(usd=Sum("cost"))["usd"] or Decimal(0)
        caches["figures"].set(key, found, CACHE_SECONDS)
    return found


def list_unbilled() -> list[str]:
    """Return the classifiers without costs of their own.

    The sandbox states prices too, but bills nothing.
    """
    services = {
        "nanogpt": settings.NANOGPT,
        "vlm": settings.VLM,
        "rekognition": settings.REKOGNITION,
    }
    return [
        *BILLED_WITH_IMAGE,
        *FREE,
        *(
            slug
            for slug, options in services.items()
            if options and urlsplit(options["base_url"]).path.startswith("/sandbox/")
        ),
    ]
