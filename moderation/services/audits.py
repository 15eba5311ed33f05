"""Audits: a share of what the policy settles goes blind to a person.

An audit is a second opinion on an automatic decision. The decision stays in effect meanwhile. If
the person disagrees, the image goes to a senior, and a wrongly approved image is not delivered any
more. Near misses are drawn more often; the probability of each draw is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from django.conf import settings

from generation.core.db.prepared.query import insert
from moderation.models import Audit, Decision, Verdict
from moderation.models.classification_summary import RunSummary, SerializedRuns, deserialize
from moderation.services import second_opinions

# The highest confidence or score from which a stratum begins, lowest first.
STRATA: Final = (0, 5, 20, 40, 60)
# Factors by which approved images of a stratum are drawn more often: misses are rare where nothing
# was found. Rejections have no near misses above their threshold, so all are drawn alike.
FACTORS: Final = (1, 2, 4, 6, 10)


def find_stratum(runs: Iterable[RunSummary]) -> int:
    """Return the stratum of an image; the highest one for a finding without a number."""
    highest = Decimal(0)
    for run in runs:
        if any(part.confidence is None for part in run.parts):
            return len(STRATA) - 1
        numbers = [run.score, *(part.confidence for part in run.parts)]
        highest = max([highest, *(number for number in numbers if number is not None)])
    return max(place for place, start in enumerate(STRATA) if highest >= start)


def compute_probability(verdict: Verdict, stratum: int) -> Decimal:
    """Return the probability with which an automatic decision is drawn, in ten thousandths."""
    if verdict == Verdict.REJECT:
        percent = settings.AUDIT_REJECTED_PERCENT
    else:
        percent = settings.AUDIT_APPROVED_PERCENT * FACTORS[stratum]
    return round(min(Decimal(percent) / 100, Decimal(1)), 4)


def draw(decision: Decision, summary: SerializedRuns | None) -> bool:
    """Draw an automatic decision for an audit, and store that; return whether it is drawn.

    Must run in the transaction of the decision. An image that was settled as a known image is not
    drawn: a person or a hash list has decided it, and a blocked file must not be shown again.
    """
    runs: Sequence[RunSummary] = deserialize(summary or [])
    if any(run.matches for run in runs):
        return False
    stratum = find_stratum(runs)
    probability = compute_probability(Verdict(decision.verdict), stratum)
    if not second_opinions.is_hash_drawn(decision, probability):
        return False
    insert(Audit(decision=decision, stratum=stratum, probability=probability))
    return True
