"""Classifier of Amazon Rekognition: labels with confidence in all ten categories.

* **Levels.** Rekognition repeats the confidence of a label at its ancestors. Labels of the third
  level count as their second level, with the highest confidence, and stay visible as details. A
  label of the first level counts only if no label below it was recognised.
* **Coverage.** Its categories are those of the taxonomy, so all ten are covered. AWS trained and
  describes the model for photographs; for a picture that Rekognition itself takes for something
  else, such as an illustration, and for an unknown version of the model, coverage is partial.
* **Silence is trusted**: a reply without labels states that none reached CONFIDENCE_MIN.
* **An unknown label is a flag** with a message and goes to a person.

JPEG and PNG are sent as stored if they are small enough. Others are re-encoded in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.conf import settings

from generation.providers.rekognition import Rekognition as Client
from generation.wire import rekognition as wire
from moderation import external_labels, taxonomy
from moderation.classifiers.base import Assessment, Coverage, Finding
from moderation.classifiers.one_image import OneImageClassifier

if TYPE_CHECKING:
    from generation.models import Asset

# Percent from which a picture counts as another kind than a photograph.
CONTENT_TYPE_FROM = 50
UNKNOWN_SHOWN = 5  # names in a message


class Rekognition(OneImageClassifier):
    """A ``RemoteClassifier``."""

    slug = "rekognition"
    version = f"{wire.MODEL_MAJOR}, from {wire.CONFIDENCE_MIN:.0f}"
    trusted_when_silent = True
    setting_names = (
        "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION and the permission"
        " rekognition:DetectModerationLabels"
    )

    @property
    def label(self) -> str:
        return settings.REKOGNITION["label"] if settings.REKOGNITION else "Rekognition"

    @property
    def price(self) -> Decimal:
        price: Decimal = settings.REKOGNITION_IMAGE_PRICE
        return price

    def explain_off(self) -> str:
        if settings.REKOGNITION is None:
            return (
                "Rekognition is switched off: CLASSIFIERS does not name it, or AWS_ACCESS_KEY_ID is"
                " not set."
            )
        return ""

    def accepts(self, content: bytes, media_type: str) -> bool:
        return media_type in wire.MEDIA_TYPES and len(content) <= wire.BYTES_MAX

    def _judge(self, asset: Asset, content: bytes, media_type: str) -> Assessment:
        assert settings.REKOGNITION is not None, "explain_off() was called before."
        return assess(Client(**settings.REKOGNITION).detect(content), price=self.price)


def assess(reply: wire.ModerationReply, *, price: Decimal) -> Assessment:
    """Translate a reply. ``flagged`` means that a label is unknown."""
    confidences, details, unknown = _fold_labels(reply.ModerationLabels)
    other_kinds = [kind.Name for kind in reply.ContentTypes if kind.Confidence >= CONTENT_TYPE_FROM]
    is_known_version = reply.ModerationModelVersion.partition(".")[0] == wire.MODEL_MAJOR
    coverage = Coverage.FULL if is_known_version and not other_kinds else Coverage.PARTIAL
    raw: dict[str, Any] = {
        "model_version": reply.ModerationModelVersion,
        "labels": [label.to_wire() for label in reply.ModerationLabels],
    }
    raw |= {"content_types": [kind.to_wire() for kind in reply.ContentTypes]}
    raw |= {"details": details} if details else {}
    raw |= {"unknown": unknown} if unknown else {}
    raw |= {} if is_known_version else {"unknown_version": reply.ModerationModelVersion}
    return Assessment(
        findings=tuple(
            Finding(category=slug, confidence=confidence)
            for slug, confidence in confidences.items()
        ),
        flagged=True if unknown else None,
        note=f"the taxonomy has no category for {_quote_names(unknown)}." if unknown else "",
        covers={category.slug: coverage for category in taxonomy.L1},
        cost=price,
        raw=raw,
    )


def _fold_labels(
    labels: Sequence[wire.ModerationLabel],
) -> tuple[dict[str, Decimal], dict[str, list[str]], list[str]]:
    """Return the highest confidence and the finer names by category, and the unknown names."""
    confidences: dict[str, Decimal] = {}
    details: dict[str, list[str]] = {}
    unknown: list[str] = []
    for label in labels:
        category = external_labels.resolve(label.Name)
        if category is None:
            unknown.append(label.Name)
            continue
        confidence = Decimal(str(label.Confidence)).quantize(Decimal("0.01"))
        confidences[category.slug] = max(confidence, confidences.get(category.slug, Decimal(0)))
        if more := external_labels.find_detail(label.Name):
            details.setdefault(category.slug, []).append(more)
    parents = {slug.partition(".")[0] for slug in confidences if "." in slug}
    for slug in parents & confidences.keys():
        del confidences[slug]
    return confidences, details, unknown


def _quote_names(names: Sequence[str]) -> str:
    """Quote the first few names, shortened because they are external data."""
    shown = ", ".join(f"“{name[:60]}”" for name in names[:UNKNOWN_SHOWN])
    more = len(names) - UNKNOWN_SHOWN
    return shown + (f" and {more} more" if more > 0 else "")
