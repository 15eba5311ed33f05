"""The stored evidence of many reviews at once, for policies that are tried on it.

A policy compares confidences with its limits and with nothing else. So a confidence is rounded down
to the next limit that any of the tried policies has: no comparison changes, and most images then
have the same evidence as thousands of others, on which the policy engine runs once.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, TextField
from django.db.models.functions import Cast

from generation.models import Source
from moderation import classifiers, taxonomy
from moderation.models import AskRule, Classification, Decision, Label, Review
from moderation.policy_engine import Evidence, Outcome, Rules, find_lowest, settle
from moderation.services import asking, classification
from moderation.services.policy_snapshots import FrozenPolicy
from moderation.services.truth import Truth, find_standing, read_truth

# Points between a confidence and a limit that it missed, or reached, by little.
NEAR = Decimal(5)
# Parts of a raw result on which an outcome depends.
_TELLING = ("level", "note", "sorting", "asking")

Finding = tuple[str, Decimal | None]  # category slug and confidence


class RunKey(NamedTuple):
    """The parts of one classification on which an outcome depends."""

    classifier: str
    version: str
    has_failed: bool
    findings: tuple[Finding, ...]
    score: Decimal | None
    flagged: bool | None
    covers: str  # JSON
    raw: str  # JSON


class ImageKey(NamedTuple):
    """The parts of an image's evidence on which an outcome depends."""

    source: str
    has_frames: bool
    runs: tuple[RunKey, ...]
    drawn: int  # number of the draw for ask rules with a share


class Judged(NamedTuple):
    """The outcome of a policy for one image."""

    outcome: Outcome
    rejected_for: tuple[str, ...]  # L1 slugs
    not_asked: tuple[str, ...]  # classifiers whose ask rules leave the image out
    is_near: bool  # a little more, or less, would change an approval or a rejection


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The decision of a person that counts as the truth about an image."""

    outcome: Outcome
    truth: Truth
    is_blind: bool  # the answer to an audit


class Image(NamedTuple):
    """A review with its evidence and with what people decided."""

    pk: int
    key: ImageKey
    uuid: UUID | None
    status: str
    is_blurred: bool
    standing: Standing | None
    seconds: tuple[Decimal, ...]  # of people's decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Reviews that are read at once: by a range of primary keys, or chosen ones."""

    after: int = 0
    until: int = 0
    chosen: tuple[int, ...] = ()

    def build_filter(self, path: str = "") -> Q:
        """Return the condition on reviews, or on rows that reach them by a path."""
        name = f"{path}__pk" if path else "pk"
        if self.chosen:
            return Q((f"{name}__in", self.chosen))
        return Q((f"{name}__gt", self.after), (f"{name}__lte", self.until))


class Limits:
    """The numbers that any of the tried policies compares with, and the rounding to them."""

    def __init__(self, policies: Collection[FrozenPolicy]) -> None:
        found = {Decimal(0)}
        for policy in policies:
            found |= policy.list_limits()
            for limits in policy.rules.per_category.values():
                lowest = find_lowest(limits)
                found |= set() if lowest is None else {max(lowest - NEAR, Decimal(0))}
                found |= set() if limits.reject_at is None else {limits.reject_at + NEAR}
        self._sorted = sorted(found)
        self.shares = sorted(
            {rule.share for one in policies for rule in one.ask_rules if rule.share is not None}
        )
        self.round_down = cache(self._round_down)

    def _round_down(self, number: Decimal) -> Decimal:
        return self._sorted[bisect_right(self._sorted, number) - 1]

    def draw(self, uuid: UUID) -> int:
        """Return the number of the draw, rounded down to a share of an ask rule."""
        place = bisect_right(self.shares, asking.draw(uuid))
        return self.shares[place - 1] if place else 0


class Judge:
    """A policy that settles images, each kind of evidence once."""

    def __init__(self, policy: FrozenPolicy) -> None:
        self.policy = policy
        self._known: dict[ImageKey, Judged] = {}
        self._build_item = cache(self._build_evidence)
        self._ask_rules = sorted(
            policy.ask_rules, key=lambda rule: classifiers.get_stage(rule.classifier)
        )

    def settle(self, key: ImageKey, uuid: UUID | None) -> Judged:
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._settle(key, uuid)
        return found

    def _settle(self, key: ImageKey, uuid: UUID | None) -> Judged:
        evidence = [self._build_item(run) for run in key.runs]
        not_asked: list[str] = []
        for rule in self._ask_rules:
            if self._skips(rule, evidence, key, uuid):
                not_asked.append(rule.classifier)
                evidence = [item for item in evidence if item.classifier != rule.classifier]
        doubts = classification.find_frame_doubts(2 if key.has_frames else 1)
        rules = self.policy.rules
        settlement = settle(rules, [*evidence, *doubts], imported=key.source == Source.UPLOAD)
        outcome = settlement.outcome
        is_rejection = outcome is Outcome.REJECT
        return Judged(
            outcome=outcome,
            rejected_for=tuple(
                sorted({taxonomy.get(slug).l1 for slug in settlement.categories})
                if is_rejection
                else ()
            ),
            not_asked=tuple(not_asked),
            is_near=_is_near(rules, evidence, outcome),
        )

    def _skips(
        self, rule: AskRule, evidence: list[Evidence], key: ImageKey, uuid: UUID | None
    ) -> bool:
        stage = classifiers.get_stage(rule.classifier)
        earlier = [item for item in evidence if classifiers.get_stage(item.classifier) < stage]
        image = asking.Image(uuid=uuid or UUID(int=0), source=key.source, earlier=earlier)
        return bool(asking.explain_skip(rule, self.policy.rules, image))

    def _build_evidence(self, run: RunKey) -> Evidence:
        return classification.build_item(
            classifier=run.classifier,
            version=run.version,
            failed="It has failed." if run.has_failed else "",
            findings=run.findings,
            score=run.score,
            flagged=run.flagged,
            covers=_parse(run.covers),
            raw=json.loads(run.raw) if run.raw else {},
            bounds=self.policy.bounds,
        )


def _is_near(rules: Rules, evidence: list[Evidence], outcome: Outcome) -> bool:
    """Return whether a few points more or less would change an approval or a rejection."""
    margins = [
        (confidence, limits)
        for item in evidence
        if not item.failed
        for slug, confidence in item.findings
        if confidence is not None and slug not in item.sorting
        if (limits := rules.for_category(slug)) is not None
    ]
    if outcome is Outcome.APPROVE:
        lowest = [(confidence, find_lowest(limits)) for confidence, limits in margins]
        return any(limit is not None and limit - NEAR <= given < limit for given, limit in lowest)
    if outcome is Outcome.REJECT:
        over = [
            confidence - limits.reject_at
            for confidence, limits in margins
            if limits.reject_at is not None and confidence >= limits.reject_at
        ]
        return bool(over) and max(over) < NEAR
    return False


@cache
def _parse(text: str) -> Mapping[str, str]:
    """Parse the JSON of what a classifier covers: a handful of different texts."""
    found = json.loads(text)
    return found if isinstance(found, dict) else {}


# --- Reading ---
def read_images(
    part: Part, limits: Limits, watched: Mapping[int, Collection[str]], *, since: datetime
) -> list[Image]:
    """Return the classified reviews of a part, with their evidence."""
    runs = _read_runs(part, limits)
    history = _read_decisions(part)
    columns = ["pk", "asset_id", "source", "asset__frames", "status", "is_blurred"]
    if limits.shares:
        columns.append("asset__uuid")
    rows = Review.objects.filter(part.build_filter(), created_at__gte=since)
    rows = rows.exclude(status=Review.Status.CLASSIFYING)
    images = []
    for pk, asset, source, frames, status, is_blurred, *more in rows.values_list(*columns):
        found = runs.get(asset, ())
        if found is None:
            continue  # it is being classified again
        uuid = more[0] if more else None
        decisions = history.get(pk)
        images.append(
            Image(
                pk=pk,
                key=ImageKey(source, frames != 1, found, limits.draw(uuid) if uuid else 0),
                uuid=uuid,
                status=status,
                is_blurred=is_blurred,
                standing=_find_standing(decisions, watched) if decisions else None,
                seconds=tuple(_list_seconds(decisions)) if decisions else (),
            )
        )
    return images


def _read_runs(part: Part, limits: Limits) -> dict[int, tuple[RunKey, ...] | None]:
    """Return the newest run of each classifier by asset; None for an asset with a queued one."""
    findings = _read_findings(part, limits)
    rows = Classification.objects.filter(part.build_filter("asset__review")).values_list(
        "pk",
        "asset_id",
        "classifier",
        "version",
        "status",
        "score",
        "flagged",
        Cast("covers", TextField()),
        Cast("raw", TextField()),
    )
    newest: dict[tuple[int, str], tuple[Any, ...]] = {}
    for row in sorted(rows):
        newest[row[1], row[2]] = row
    found: dict[int, list[RunKey] | None] = {}
    for pk, asset, classifier, version, status, score, flagged, covers, raw in newest.values():
        of_asset = found.setdefault(asset, [])
        if status == Classification.Status.QUEUED:
            found[asset] = None
        if of_asset is None or status == Classification.Status.SKIPPED:
            continue
        telling = _reduce_raw(raw)
        if telling is None:
            continue
        of_asset.append(
            RunKey(
                classifier,
                version,
                status != Classification.Status.DONE,
                findings.get(pk, ()),
                None if score is None else limits.round_down(score),
                flagged,
                covers,
                telling,
            )
        )
    return {
        asset: None if keys is None else tuple(sorted(keys, key=_get_classifier))
        for asset, keys in found.items()
    }


_get_classifier = attrgetter("classifier")  # there is one run of each


def _read_findings(part: Part, limits: Limits) -> dict[int, tuple[Finding, ...]]:
    rows = Label.objects.filter(part.build_filter("classification__asset__review"))
    found: dict[int, tuple[Finding, ...]] = {}
    for run, slug, confidence in rows.values_list("classification_id", "category", "confidence"):
        new = (slug, None if confidence is None else limits.round_down(confidence))
        others = found.get(run)
        found[run] = (new,) if others is None else _add_finding(others, new)
    return found


def _add_finding(others: tuple[Finding, ...], new: Finding) -> tuple[Finding, ...]:
    """Add a finding, in an order that does not depend on the classifier's."""
    return tuple(sorted({*others, new}, key=lambda one: (one[0], one[1] is None, one[1] or 0)))


# Raw results are often the same text, and parsing them is a third of the work.
@lru_cache(maxsize=4096)
def _reduce_raw(text: str) -> str | None:
    """Return the telling parts of a raw result as JSON, "" without any, None for no evidence."""
    raw = json.loads(text) if len(text) > 2 else None
    if not isinstance(raw, dict):
        return ""
    if raw.get("no_evidence"):
        return None
    kept = {name: raw[name] for name in _TELLING if raw.get(name) not in (None, "", [])}
    if "note" in kept:
        kept["note"] = "note"  # its words decide nothing
    if raw.get("matches"):
        kept["matches"] = [_reduce_match(match) for match in raw["matches"]]
    return json.dumps(kept, sort_keys=True) if kept else ""


def _reduce_match(match: Mapping[str, Any]) -> dict[str, Any]:
    """Return a match without the words and the distance, which decide nothing."""
    return {
        **match,
        "text": "",
        "review": "",
        "distance": None if match["distance"] is None else 1,
    }


def _read_decisions(part: Part) -> dict[int, list[Decision]]:
    """Return all decisions of the reviews that a person decided, oldest first."""
    persons = Decision.objects.filter(review=OuterRef("review"), by_policy=False)
    rows = Decision.objects.filter(part.build_filter("review"), Exists(persons)).only(
        "review",
        "verdict",
        "categories",
        "is_blurred",
        "by_policy",
        "policy",
        "policy_in_force",
        "seconds",
        "reverses",
        "second_of",
        "sequence",
    )
    found: dict[int, list[Decision]] = {}
    by_pk: dict[int, Decision] = {}
    for row in sorted(rows, key=lambda row: row.sequence):
        by_pk[row.pk] = row
        if row.second_of_id is not None:
            row.second_of = by_pk[row.second_of_id]  # of the same review, so no query
        found.setdefault(row.review_id, []).append(row)
    return found


def _find_standing(
    decisions: list[Decision], watched: Mapping[int, Collection[str]]
) -> Standing | None:
    decision = find_standing(decisions)
    if decision is None:
        return None
    outcome = Outcome.BLUR if decision.is_blurred else Outcome(decision.verdict)
    return Standing(
        outcome=outcome,
        truth=read_truth(decision, watched),
        is_blind=decision.second_of_id is not None,
    )


def _list_seconds(decisions: list[Decision]) -> Iterator[Decimal]:
    for row in decisions:
        if not row.by_policy and row.reverses_id is None and row.seconds is not None:
            yield row.seconds
