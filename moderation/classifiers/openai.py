"""Classifier of OpenAI's moderation model: scores for sexual content, violence and self-harm.

* **Coverage.** The model judges an image in six categories only, which stand for parts of Explicit
  and of Violence. It returns the other seven too, with a score of 0. So a category counts only if
  the reply says that it was applied to the image, and if its score is above 0; if neither "sexual"
  nor "violence" counts, the image was not judged.
* **Silence is not trusted.** Eight of the ten categories are not looked for.
* **Scores** become confidences, times 100, on the model's own scale. Those below CONFIDENCE_MIN are
  no findings, unless the model flagged their category. ``raw`` has all of them.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from django.conf import settings

from generation.providers.base import InvalidAnswerError
from generation.providers.openai import OpenAI
from generation.wire import openai as wire
from moderation.classifiers.base import Assessment, Coverage, Finding
from moderation.classifiers.one_image import OneImageClassifier

if TYPE_CHECKING:
    from generation.models import Asset

CATEGORIES = {
    "sexual": "explicit",
    "violence": "violence",
    "violence/graphic": "violence.graphic",
    "self-harm": "violence.graphic",
    "self-harm/intent": "violence.graphic",
    "self-harm/instructions": "violence.graphic",
}
# An L1 category is covered if these were applied.
REQUIRED = {"explicit": ("sexual",), "violence": ("violence", "violence/graphic")}
CONFIDENCE_MIN = Decimal(5)  # percent


class OpenAIModeration(OneImageClassifier):
    """A ``RemoteClassifier``."""

    slug = "openai"
    version = wire.MODEL
    trusted_when_silent = False
    silence = (
        "It checks two of the ten categories, each in part, and says nothing about the others."
    )
    setting_names = "OPENAI_API_KEY, the quota of its project, and OPENAI_BASE_URL"

    @property
    def label(self) -> str:
        return settings.OPENAI["label"] if settings.OPENAI else "OpenAI moderation"

    def explain_off(self) -> str:
        if settings.OPENAI is None:
            return (
                "OpenAI moderation is switched off: CLASSIFIERS does not name it, or OPENAI_API_KEY"
                " is not set."
            )
        return ""

    def accepts(self, content: bytes, media_type: str) -> bool:
        return wire.fits_into_call(content, media_type)

    def _judge(self, asset: Asset, content: bytes, media_type: str) -> Assessment:
        assert settings.OPENAI is not None, "explain_off() was called before."
        return assess(OpenAI(**settings.OPENAI).moderate(content, media_type), self.label)


def assess(reply: wire.ModerationReply, label: str) -> Assessment:
    """Translate a reply with one result. Raises InvalidAnswerError."""
    (result,) = reply.results
    scores = _list_judged(result, label)
    covers = {
        slug: Coverage.PARTIAL
        for slug, names in REQUIRED.items()
        if all(name in scores for name in names)
    }
    if not covers:
        raise InvalidAnswerError(
            f"{label} did not judge the image itself: neither “sexual” nor “violence” was applied"
            " to it."
        )
    flagged = [name for name in scores if result.categories[name]]
    if flagged and not result.flagged:
        raise InvalidAnswerError(f"{label} answered in a way that contradicts itself.")
    confidences: dict[str, Decimal] = {}
    details: dict[str, list[str]] = {}
    for name, confidence in scores.items():
        if confidence < CONFIDENCE_MIN and name not in flagged:
            continue
        slug = CATEGORIES[name]
        confidences[slug] = max(confidence, confidences.get(slug, Decimal(0)))
        details.setdefault(slug, []).append(name)
    return Assessment(
        findings=tuple(
            Finding(category=slug, confidence=confidence)
            for slug, confidence in confidences.items()
        ),
        flagged=bool(flagged),
        covers=covers,
        raw={"model": reply.model, "request_id": reply.id, "details": details}
        | {"result": result.to_wire()},
    )


def _list_judged(result: wire.Result, label: str) -> dict[str, Decimal]:
    """Return the confidence of each category that was applied to the image.

    Raises InvalidAnswerError if such a category has no score or no verdict.
    """
    judged: dict[str, Decimal] = {}
    for name in CATEGORIES:
        if wire.IMAGE not in (result.category_applied_input_types.get(name) or ()):
            continue
        score = result.category_scores.get(name)
        if score is None or result.categories.get(name) is None:
            raise InvalidAnswerError(f"{label} answered without a verdict for “{name}”.")
        if score > 0:  # 0 stands for a category that was not looked for
            judged[name] = (Decimal(str(score)) * 100).quantize(Decimal("0.01"))
    return judged
