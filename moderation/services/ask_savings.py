"""Savings of ask rules: measured for rules in use, estimated from past results for new ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import prefetch_related_objects
from django.utils import timezone

from generation.models import Asset
from moderation import classifiers
from moderation.models import AskRule, Classification, Policy, Review
from moderation.services import asking, classification, costs

PERIOD = timedelta(days=30)
# Images whose results an estimate reads: about half a second.
IMAGES_MAX = 2_000
CHUNK = 500  # SQLite accepts about 1,000 values in a statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The effect of an ask rule on past images."""

    images: int  # images that the classifier applies to
    not_asked: int


def count_skipped(rule: AskRule) -> int:
    """Return the number of images of the last 30 days that were not asked about by this rule."""
    return rule.skipped.filter(finished_at__gte=timezone.now() - PERIOD).count()


def estimate(policy: Policy) -> dict[str, Estimate]:
    """Apply each ask rule of a policy to the newest images; return the estimates by classifier."""
    asked_by = {rule.classifier: rule for rule in policy.ask_rules.all()}
    rules = classification.build_rules(policy)
    images, not_asked = dict.fromkeys(asked_by, 0), dict.fromkeys(asked_by, 0)
    for review in _read_newest_reviews() if asked_by else ():
        for slug, rule in asked_by.items():
            if not _applies(slug, review.asset):
                continue
            images[slug] += 1
            image = asking.Image(
                uuid=review.asset.uuid,
                source=review.source,
                earlier=classification.build_evidence(_list_earlier(slug, review.asset)),
            )
            not_asked[slug] += bool(asking.explain_skip(rule, rules, image))
    return {slug: Estimate(images=images[slug], not_asked=not_asked[slug]) for slug in asked_by}


def _applies(slug: str, asset: Asset) -> bool:
    try:
        return classifiers.get(slug).applies_to(asset)
    except LookupError:
        return False


def _list_earlier(slug: str, asset: Asset) -> list[Classification]:
    """Return the runs of earlier stages than the classifier's."""
    stage = classifiers.get_stage(slug)
    runs = asset.classifications.all()
    return [run for run in runs if classifiers.get_stage(run.classifier) < stage]


def _read_newest_reviews() -> Iterator[Review]:
    """Yield the newest classified reviews of the last 30 days, with the results."""
    since = timezone.now() - PERIOD
    rows = Review.objects.filter(created_at__gte=since).exclude(status=Review.Status.CLASSIFYING)
    newest = list(rows.order_by("-created_at").select_related("asset__request")[:IMAGES_MAX])
    for start in range(0, len(newest), CHUNK):
        chunk = newest[start : start + CHUNK]
        prefetch_related_objects(chunk, "asset__classifications__labels")
        yield from chunk


def describe(policy: Policy) -> list[str]:
    """Return a line for each ask rule: what it saved, and what it would have saved."""
    estimates = {} if policy.is_active else estimate(policy)
    lines = []
    for rule in policy.ask_rules.all():
        price, label = costs.find_price(rule.classifier), classifiers.label(rule.classifier)
        skipped = count_skipped(rule)
        if policy.is_active or skipped:
            lines.append(
                f"{label}: not asked about {skipped:,} images in the last 30 days, which saved"
                f" {price.describe(skipped)}."
            )
        if found := estimates.get(rule.classifier):
            lines.append(
                f"{label}, estimate: of the newest {found.images:,} images of the last 30 days, it"
                f" would not have been asked about {found.not_asked:,}, which would have saved"
                f" {price.describe(found.not_asked)}."
            )
    return lines
