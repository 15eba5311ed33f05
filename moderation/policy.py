"""The policy engine: evidence in, settlement out. Pure, so that a policy can be tried on history.

The rule behind all rules: doubt is never "clean". What nobody could judge goes to a person.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from moderation import taxonomy

UNJUDGED_PRIORITY = 100
FLAGGED_PRIORITY = 90
UNSEEN_PRIORITY = 5


class Outcome(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"
    PERSON = "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One classification, as far as a policy cares."""

    label: str  # the classifier's name for people
    failed: str = ""  # the sentence of a failed or unfinished run; then nothing below counts
    findings: Sequence[tuple[str, Decimal]] = ()  # category slug, confidence 0..100
    score: Decimal | None = None  # 0..100, without a category
    flagged: bool | None = None
    covers: Collection[str] = ()  # L1 slugs it can see
    silence_counts: bool = True  # whether finding nothing may count towards an approval by itself
    gives_confidence: bool = True  # whether the numbers in its findings mean anything
    is_local: bool = False  # the local detector, whose silence a policy may trust by name
    note: str = ""  # a sentence that came with a verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    review_at: Decimal | None
    reject_at: Decimal | None


# For what has no number to compare: neither rejected by it, nor let through.
_ALWAYS = Thresholds(review_at=Decimal(0), reject_at=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """A policy without its database row."""

    name: str
    per_category: Mapping[str, Thresholds]
    nsfw_level: int = 0
    nsfw: Thresholds
    may_approve: bool = True
    trusts_local_silence: bool = False

    def for_category(self, slug: str) -> Thresholds | None:
        """The rule of the category itself, else of its L1; none means that the policy does not mind it."""
        return self.per_category.get(slug) or self.per_category.get(taxonomy.get(slug).l1)

    @property
    def watched(self) -> set[str]:
        """L1 categories that somebody has to have looked for before the policy may approve."""
        return {taxonomy.get(slug).l1 for slug in self.per_category}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    outcome: Outcome
    why: str
    priority: int = 0
    headline: str = ""
    confidence: Decimal | None = None
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hit:
    category: str  # "" for a score without one
    confidence: Decimal
    source: str
    limits: Thresholds
    scored: bool = True  # False for a category without a number; its confidence is only there for sorting
    verdict: str = ""  # why, for a yes without a number or a category; its confidence is no measurement

    @property
    def name(self) -> str:
        return taxonomy.names([self.category]) if self.category else "NSFW score"

    @property
    def found(self) -> str:
        return f"{self.source} found {self.name}" + (f" at {self.confidence:.0f}" if self.scored else "")

    @property
    def shown(self) -> Decimal | None:
        return self.confidence if self.scored else None

    def reaches(self, limit: Decimal | None) -> bool:
        return limit is not None and self.confidence >= limit


def settle(rules: Rules, evidence: Iterable[Evidence]) -> Settlement:
    """Apply a policy to everything classifiers said about one asset."""
    known = list(evidence)
    # Of two equally sure findings the one with a name says more.
    hits = sorted(_hits(rules, known), key=lambda hit: (hit.confidence, bool(hit.category)), reverse=True)
    # Rejecting is the safe side, so it needs no complete evidence; approving does.
    rejecting = [hit for hit in hits if hit.reaches(hit.limits.reject_at)]
    if rejecting:
        return _reject(rules, rejecting)
    failed = [item for item in known if item.failed]
    if failed or not known:
        return _unjudged(failed, hits)
    reviewing = [hit for hit in hits if hit.reaches(hit.limits.review_at)]
    if reviewing:
        return _review(rules, reviewing)
    return _nothing_found(rules, known)


def _hits(rules: Rules, evidence: list[Evidence]) -> Iterable[_Hit]:
    for item in evidence:
        if item.failed:
            continue
        for category, confidence in item.findings:
            limits = rules.for_category(category)
            if limits is not None:
                scored = item.gives_confidence
                limits = limits if scored else _ALWAYS
                yield _Hit(category=category, confidence=confidence, source=item.label, limits=limits, scored=scored)
        if item.score is not None:
            yield _Hit(category="", confidence=item.score, source=item.label, limits=rules.nsfw)
        elif item.flagged and not (item.findings and item.gives_confidence):
            # A verdict without number or category says something, but not what: a person looks.
            said = item.note or "no category was named."
            verdict = f"{item.label} flagged it: {said}"
            yield _Hit(category="", confidence=Decimal(100), source=item.label, limits=_ALWAYS, verdict=verdict)


def _reject(rules: Rules, hits: list[_Hit]) -> Settlement:
    first = hits[0]
    why = f"{first.found}; {rules.name} rejects from {first.limits.reject_at:.0f}."
    categories = tuple(dict.fromkeys(hit.category for hit in hits if hit.category))
    return Settlement(
        outcome=Outcome.REJECT, why=why, headline=first.category, confidence=first.confidence, categories=categories
    )


def _unjudged(failed: list[Evidence], hits: list[_Hit]) -> Settlement:
    why = (
        " ".join(f"{item.label} could not judge it: {item.failed}" for item in failed)
        or "No classifier could look at it."
    )
    first = next((hit for hit in hits if not hit.verdict), None)
    why = " ".join([why, *(hit.verdict for hit in hits if hit.verdict)])
    return Settlement(
        outcome=Outcome.PERSON, why=why, priority=UNJUDGED_PRIORITY,
        headline=first.category if first else "", confidence=first.shown if first else None,
    )  # fmt: skip


def _review(rules: Rules, hits: list[_Hit]) -> Settlement:
    """What was measured comes first; verdicts without a number stand beside it, or alone."""
    verdicts = " ".join(hit.verdict for hit in hits if hit.verdict)
    hit = next((hit for hit in hits if not hit.verdict), None)
    if hit is None:
        why = f"{verdicts} {rules.name.capitalize()} leaves that to a person."
        return Settlement(outcome=Outcome.PERSON, why=why, priority=FLAGGED_PRIORITY)
    limit = f"from {hit.limits.review_at:.0f}" if hit.scored else "because no confidence was given"
    why = f"{hit.found}; {rules.name} asks a person {limit}. {verdicts}".rstrip()
    return Settlement(
        outcome=Outcome.PERSON, why=why, priority=max(int(hit.confidence), FLAGGED_PRIORITY if verdicts else 0),
        headline=hit.category, confidence=hit.shown,
    )  # fmt: skip


def _nothing_found(rules: Rules, evidence: list[Evidence]) -> Settlement:
    if not rules.may_approve:
        return Settlement(outcome=Outcome.PERSON, why=f"Nothing found; {rules.name} leaves every approval to people.")
    seen = {category for item in evidence if item.silence_counts for category in item.covers}
    names = " and ".join(item.label for item in evidence)
    if rules.trusts_local_silence and any(item.is_local for item in evidence):
        why = f"{names} found nothing; {rules.name} trusts the local detector's silence, although it sees only nudity."
        return Settlement(outcome=Outcome.APPROVE, why=why)
    unseen = [category.slug for category in taxonomy.L1 if category.slug in rules.watched - seen]
    if unseen:
        why = f"{names} found nothing, but nobody could look for: {taxonomy.names(unseen)}."
        return Settlement(outcome=Outcome.PERSON, why=why, priority=UNSEEN_PRIORITY)
    return Settlement(outcome=Outcome.APPROVE, why=f"{names} found nothing that {rules.name} minds.")
