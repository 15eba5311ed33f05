"""Scenario's labels, which came with the asset
(https://docs.scenario.com/get-started/documentation/nsfw).

Scenario lets Amazon Rekognition look at every image and passes on the names of the top level: no
score, no second level, and nothing at all until it has looked. So:

* **No confidence is given, and none is made up.** A finding holds None. The policy then neither
  rejects by it nor lets
  it fall under a threshold: a label in a category that the policy watches goes to a person. The
  desk says "no
  confidence given".
* **An unknown label means a person.** It is kept word for word, and the run is flagged, which no
  policy may overlook.
* **Absent is not clean.** Scenario looks at an image "within seconds" after it is made, so an asset
  that was imported
  before that is asked about again, at growing distances over an hour, and goes to a person after
  the last.
* **Coverage is partial everywhere.** All ten categories are looked for, but from a confidence on
  that Scenario does not
  name (Rekognition's own default is 50), and only images made since it began labelling have labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from generation.models import Asset, Source
from generation.providers.base import ProviderBusyError, ProviderError
from generation.providers.scenario import Scenario
from moderation import external_labels, taxonomy
from moderation.classifiers.base import Assessment, ClassifierError, Coverage, Finding

FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(minutes=15)
PATIENCE = timedelta(hours=1)  # from the import on
NAMED = 5  # unknown labels named in a sentence


class ScenarioLabels:
    slug = "scenario"
    label = "Scenario"
    version = "rekognition-l1"
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
        """The labels that were not there at the import. Raises ClassifierError, with the time of
        the next try.
        """
        if settings.SCENARIO is None:
            raise ClassifierError(
                "Scenario had not looked at this image when it was imported, and is switched off"
                " now."
            )
        try:
            found = Scenario(**settings.SCENARIO).asset(asset.external_id, project=project)
        except ProviderBusyError as busy:
            wait = timedelta(seconds=busy.retry_after or 0)
            raise ClassifierError(
                str(busy), retry_after=self._pause(asset, at_least=wait)
            ) from None
        except ProviderError as error:
            raise ClassifierError(str(error)) from None
        if found.nsfw is not None:
            return found.nsfw
        pause = self._pause(asset)
        sentence = "Scenario has not looked at this image" + (
            " yet." if pause else f" {_minutes(PATIENCE)} after it came."
        )
        raise ClassifierError(sentence, retry_after=pause)

    def _pause(self, asset: Asset, *, at_least: timedelta = timedelta()) -> timedelta | None:
        """As long as the image has been here already, so the pauses grow; None once patience has an
        end.
        """
        age = timezone.now() - asset.created_at
        return None if age >= PATIENCE else max(min(max(age, FIRST_PAUSE), LONGEST_PAUSE), at_least)


def _minutes(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:.0f} minutes"


def _listed(labels: Sequence[str]) -> str:
    """The labels in quotation marks, a few of them, because they come from outside."""
    shown = ", ".join(f"“{label[:60]}”" for label in labels[:NAMED])
    return shown + (f" and {len(labels) - NAMED} more" if len(labels) > NAMED else "")


def assess(labels: Sequence[str], *, asked_again: bool = False) -> Assessment:
    """What Scenario's labels say in our words. ``flagged`` says that one of them is unknown."""
    slugs: dict[str, None] = {}
    unknown: list[str] = []
    details: dict[str, list[str]] = {}
    for label in dict.fromkeys(labels):
        category = external_labels.resolve(label)
        if category is None:
            unknown.append(label)
            continue
        slugs[category.slug] = None
        if more := external_labels.detail(label):
            details.setdefault(category.slug, []).append(more)
    raw: dict[str, Any] = {"nsfw": list(labels)}
    raw |= {"unknown": unknown} if unknown else {}
    raw |= {"details": details} if details else {}
    raw |= {"asked_again": True} if asked_again else {}
    return Assessment(
        findings=tuple(Finding(category=slug, confidence=None) for slug in slugs),
        flagged=True if unknown else None,
        note=f"the taxonomy has no category for {_listed(unknown)}." if unknown else "",
        covers={category.slug: Coverage.PARTIAL for category in taxonomy.L1},
        raw=raw,
    )
