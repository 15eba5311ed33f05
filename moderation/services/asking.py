"""Decide by a policy's rules whether a classifier is asked about an image.

Doubt counts as a reason to ask: a failed run, or a result without a number, is not "nothing found".
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from generation.models import Source
from moderation.models import AskRule
from moderation.policy_engine import Evidence, Outcome, Rules, settle


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The properties of an image that ask rules refer to."""

    uuid: UUID
    source: str
    earlier: Sequence[Evidence]  # the results of earlier stages


def explain_skip(rule: AskRule, rules: Rules, image: Image) -> str:
    """Return a sentence that says why the classifier is not asked, or "" if it is.

    ``rules`` are those of the rule's policy.
    """
    known = [match for item in image.earlier for match in item.matches if match.rejects]
    if known:
        return f"{rules.name.capitalize()} rejects the image without it: {known[0].text}."
    asks = f"{rules.name.capitalize()} asks it only"
    if rule.sources and image.source not in rule.sources:
        names = " and ".join(Source(value).label for value in rule.sources)
        return f"{asks} about images of the source {names}."
    if rule.share is not None and draw(image.uuid) >= rule.share:
        return f"{asks} about {rule.share} % of the images, and this one was not drawn."
    if rule.asks_from is not None:
        highest = find_highest(image.earlier)
        if highest is not None and highest < rule.asks_from:
            return (
                f"{asks} if an earlier classifier gave {rule.asks_from:.0f} or more; the highest"
                f" was {highest:.0f}."
            )
    if rule.skips_rejected:
        settlement = settle(rules, image.earlier)
        if settlement.outcome is Outcome.REJECT:
            return f"{rules.name.capitalize()} rejects the image without it: {settlement.reason}"
    return ""


def draw(uuid: UUID) -> int:
    """Return a number from 0 to 99 that depends on the image only.

    A larger share therefore includes the images of a smaller one.
    """
    return int.from_bytes(hashlib.sha256(uuid.bytes).digest()[:8]) % 100


def find_highest(earlier: Sequence[Evidence]) -> Decimal | None:
    """Return the highest score or confidence, 0 if nothing was found, None in doubt."""
    numbers = [Decimal(0)]
    judging = [item for item in earlier if item.flagged or not item.is_lookup]
    for item in judging:
        if item.failed or (item.flagged and item.score is None and not item.has_scored_findings):
            return None
        if any(confidence is None for _, confidence in item.findings):
            return None
        numbers += [confidence for _, confidence in item.findings if confidence is not None]
        numbers += [] if item.score is None else [item.score]
    return max(numbers) if judging else None
