"""Scenario's labels, delivered with the asset.

Source: https://docs.scenario.com/get-started/documentation/nsfw. Scenario runs Amazon Rekognition
on every image and passes on the top-level names: no score, no second level, and nothing before the
image has been checked. Therefore:

* **Findings have no confidence.** The policy can neither reject by them nor ignore them: a label in
  a watched category goes to a person. The desk shows "no confidence given".
* **An unknown label goes to a person.** The label is kept verbatim and the run is flagged, which no
  policy may ignore.
* **Missing labels do not mean "clean".** Scenario checks an image "within seconds" after creation.
  An asset imported before that is queried again with growing delays for an hour, and then goes to a
  person.
* **Coverage is partial.** All ten categories are checked, but from a confidence on that Scenario
  does not document (Rekognition's default is 50), and only images created since the introduction of
  labels have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from generation.core.backoff import delay_by_age
from generation.models import Asset, Source
from generation.providers.base import ProviderBusyError, ProviderError
from generation.providers.scenario import Scenario
from moderation import external_labels, taxonomy
from moderation.classifiers.base import Assessment, ClassifierError, Coverage, Finding, Stage

FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(minutes=15)
PATIENCE = timedelta(hours=1)  # since the import
NAMED_MAX = 5  # unknown labels named in a message


class ScenarioLabels:
    """A ``Classifier`` that reads the stored labels, and asks Scenario if they are missing."""

    slug = "scenario"
    label = "Scenario"
    version = "rekognition-l1"
    stage = Stage.DELIVERED
    trusted_when_silent = True

    def applies_to(self, asset: Asset) -> bool:
        return asset.source == Source.SCENARIO

    def classify(self, asset: Asset) -> Assessment:
        detection = asset.detection or {}
        labels = detection.get("nsfw")
        asked_again = labels is None
        if labels is None:
            labels = self._ask_again(asset, str(detection.get("project", "")))
        if not isinstance(labels, list | tuple):
            raise ClassifierError("Scenario's labels were stored in a form that cannot be read.")
        return assess([str(label) for label in labels], asked_again=asked_again)

    def _ask_again(self, asset: Asset, project: str) -> Sequence[str]:
        """Fetch the labels that were missing at the import.

        Raises ClassifierError, with the time of the next attempt if there is one.
        """
        if settings.SCENARIO is None:
            raise ClassifierError(
                "Scenario had not analysed this image when it was imported, and is off now."
            )
        try:
            found = Scenario(**settings.SCENARIO).get_asset(asset.external_id, project=project)
        except ProviderBusyError as busy:
            wait = timedelta(seconds=busy.retry_after or 0)
            raise ClassifierError(
                str(busy), retry_after=self._next_delay(asset, at_least=wait)
            ) from None
        except ProviderError as error:
            raise ClassifierError(str(error)) from None
        if found.nsfw is not None:
            return found.nsfw
        pause = self._next_delay(asset)
        message = "Scenario has not analysed this image" + (
            " yet." if pause else f" {_format_minutes(PATIENCE)} after it came."
        )
        raise ClassifierError(message, retry_after=pause)

    def _next_delay(self, asset: Asset, *, at_least: timedelta = timedelta()) -> timedelta | None:
        """Return the next delay, equal to the asset's age so far; None after PATIENCE."""
        age = timezone.now() - asset.created_at
        if age >= PATIENCE:
            return None
        return max(delay_by_age(age, shortest=FIRST_PAUSE, longest=LONGEST_PAUSE), at_least)


def _format_minutes(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:.0f} minutes"


def _quote_labels(labels: Sequence[str]) -> str:
    """Quote the first few labels, shortened because they are external data."""
    shown = ", ".join(f"“{label[:60]}”" for label in labels[:NAMED_MAX])
    return shown + (f" and {len(labels) - NAMED_MAX} more" if len(labels) > NAMED_MAX else "")


def assess(labels: Sequence[str], *, asked_again: bool = False) -> Assessment:
    """Translate Scenario's labels. ``flagged`` means that a label is unknown."""
    slugs: dict[str, None] = {}
    unknown: list[str] = []
    details: dict[str, list[str]] = {}
    for label in dict.fromkeys(labels):
        category = external_labels.resolve(label)
        if category is None:
            unknown.append(label)
            continue
        slugs[category.slug] = None
        if more := external_labels.find_detail(label):
            details.setdefault(category.slug, []).append(more)
    raw: dict[str, Any] = {"nsfw": list(labels)}
    raw |= {"unknown": unknown} if unknown else {}
    raw |= {"details": details} if details else {}
    raw |= {"asked_again": True} if asked_again else {}
    return Assessment(
        findings=tuple(Finding(category=slug, confidence=None) for slug in slugs),
        flagged=True if unknown else None,
        note=f"the taxonomy has no category for {_quote_labels(unknown)}." if unknown else "",
        covers={category.slug: Coverage.PARTIAL for category in taxonomy.L1},
        raw=raw,
    )
