"""The stored evidence of many reviews at once, for policies that are tried on it.

A policy compares confidences with its limits and with nothing else. So a confidence is rounded down
to the next limit that any of the tried policies has: no comparison changes, and most images then
have the same evidence as thousands of others, on which the policy engine runs once.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache, lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Exists, FloatField, OuterRef, Q, TextField
from django.db.models.functions import Cast

from generation.models import Source
from moderation import classifiers, taxonomy
from moderation.models import AskRule, Classification, Decision, Review
from moderation.policy_engine import Evidence, Outcome, Rules, find_lowest, settle
from moderation.services import asking, classification
from moderation.services.policy_snapshots import FrozenPolicy
from moderation.services.truth import Truth, find_standing, read_truth

# Points between a confidence and a limit that it missed, or reached, by little.
NEAR = Decimal(5)
# Parts of a raw result on which an outcome depends.
_TELLING = ("level", "note", "sorting", "asking")
_QUOTED = tuple(f'"{name}"' for name in (*_TELLING, "matches", "no_evidence"))

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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kind:
    """Images with the same evidence, as far as an outcome depends on it. Compared by identity."""

    source: str
    has_frames: bool
    runs: tuple[RunKey, ...]
    uuid: UUID | None  # of one of the images, for ask rules with a share


class Judged(NamedTuple):
    """The outcome of a policy for one image."""

    outcome: Outcome
    rejected_for: tuple[str, ...]  # L1 slugs
    not_asked: tuple[str, ...]  # classifiers whose ask rules leave the image out
    is_near: bool  # a little more, or less, would change an approval or a rejection


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Standing:
    """The decision of a person that counts as the truth about an image. Compared by identity."""

    outcome: Outcome
    truth: Truth
    is_blind: bool  # the answer to an audit


class Image(NamedTuple):
    """A review with its evidence and with what people decided."""

    pk: int
    kind: Kind
    status: str
    is_blurred: bool
    standing: Standing | None
    seconds: Collection[float]  # of people's decisions


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

    def _round_down(self, number: float | None) -> Decimal | None:
        """Return the next limit at or below a stored number, which has two decimals."""
        if number is None:
            return None
        return self._sorted[bisect_right(self._sorted, Decimal(f"{number:.2f}")) - 1]

    def draw(self, uuid: UUID) -> int:
        """Return the number of the draw, rounded down to a share of an ask rule."""
        place = bisect_right(self.shares, asking.draw(uuid))
        return self.shares[place - 1] if place else 0


class Judge:
    """A policy that settles images, each kind of evidence once."""

    def __init__(self, policy: FrozenPolicy) -> None:
        self.policy = policy
        self.settle = cache(self._settle)
        self._build_item = cache(self._build_evidence)
        self._ask_rules = sorted(
            policy.ask_rules, key=lambda rule: classifiers.get_stage(rule.classifier)
        )

    def _settle(self, kind: Kind) -> Judged:
        evidence = [self._build_item(run) for run in kind.runs]
        not_asked: list[str] = []
        for rule in self._ask_rules:
            if self._skips(rule, evidence, kind):
                not_asked.append(rule.classifier)
                evidence = [item for item in evidence if item.classifier != rule.classifier]
        doubts = classification.find_frame_doubts(2 if kind.has_frames else 1)
        rules = self.policy.rules
        settlement = settle(rules, [*evidence, *doubts], imported=kind.source == Source.UPLOAD)
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

    def _skips(self, rule: AskRule, evidence: list[Evidence], kind: Kind) -> bool:
        stage = classifiers.get_stage(rule.classifier)
        earlier = [item for item in evidence if classifiers.get_stage(item.classifier) < stage]
        image = asking.Image(uuid=kind.uuid or UUID(int=0), source=kind.source, earlier=earlier)
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
# The columns of a review, its runs and their findings, one row for each finding. The primary keys
# are first, so that sorted rows are grouped by review and by run, the oldest run first.
_RUN = "asset__classifications"
_ROW = (
    "pk",
    f"{_RUN}__pk",
    f"{_RUN}__labels__pk",
    "status",
    "is_blurred",
    "source",
    "asset__frames",
    f"{_RUN}__classifier",
    f"{_RUN}__version",
    f"{_RUN}__status",
    f"{_RUN}__flagged",
    # Read as text and as floats: Django's conversions cost more than the query.
    Cast(f"{_RUN}__covers", TextField()),
    Cast(f"{_RUN}__raw", TextField()),
    Cast(f"{_RUN}__score", FloatField()),
    f"{_RUN}__labels__category",
    Cast(f"{_RUN}__labels__confidence", FloatField()),
)
_DECISION = (
    "review",
    "sequence",
    "pk",
    "reverses",
    "second_of",
    Cast("seconds", FloatField()),
    "verdict",
    "is_blurred",
    "by_policy",
    "policy",
    "policy_in_force",
    Cast("categories", TextField()),
)
_get_first = itemgetter(0)

Row = tuple[Any, ...]


class History(NamedTuple):
    """The decisions of a review that people decided."""

    standing: Standing | None
    seconds: Collection[float]


_NO_HISTORY = History(None, ())


class Reader:
    """Reads reviews in bulk. Equal evidence, and equal decisions, are built once."""

    def __init__(
        self,
        policies: Collection[FrozenPolicy],
        watched: Mapping[int, Collection[str]],
        *,
        since: datetime,
    ) -> None:
        self._limits = Limits(policies)
        self._watched = watched
        self._since = since
        self._kinds: dict[Row, Kind | None] = {}
        self._same_kinds: dict[Row, Kind] = {}  # without the order of the findings
        self._standings: dict[Row, Standing | None] = {}

    def read(self, part: Part) -> list[Image]:
        """Return the classified reviews of a part, with their evidence."""
        histories = self._read_histories(part)
        rows = Review.objects.filter(part.build_filter(), created_at__gte=self._since)
        rows = rows.exclude(status=Review.Status.CLASSIFYING)
        columns = (*_ROW, "asset__uuid") if self._limits.shares else _ROW
        images = []
        for pk, group in groupby(sorted(rows.values_list(*columns)), _get_first):
            findings = list(group)
            kind = self._find_kind(findings)
            if kind is None:
                continue  # it is being classified again
            status, is_blurred = findings[0][3:5]
            images.append(Image(pk, kind, status, is_blurred, *histories.get(pk, _NO_HISTORY)))
        return images

    def _find_kind(self, rows: list[Row]) -> Kind | None:
        """Return the kind of an image, or None if a run is queued."""
        round_down = self._limits.round_down
        source, frames = rows[0][5:7]
        uuid = rows[0][16] if self._limits.shares else None
        evidence = (
            source,
            frames != 1,
            self._limits.draw(uuid) if uuid else 0,
            *[
                (
                    *row[7:12],
                    _reduce_raw(row[12]),
                    round_down(row[13]),
                    row[14],
                    round_down(row[15]),
                )
                for row in rows
            ],
        )
        if evidence not in self._kinds:
            self._kinds[evidence] = self._build_kind(evidence, uuid)
        return self._kinds[evidence]

    def _build_kind(self, evidence: Row, uuid: UUID | None) -> Kind | None:
        source, has_frames, drawn, *findings = evidence
        newest: dict[str, list[Row]] = {}
        for (classifier, _), group in groupby(findings, itemgetter(0, 1)):
            if classifier is not None:  # None: no classifier has run
                newest[classifier] = list(group)
        if any(rows[0][2] == Classification.Status.QUEUED for rows in newest.values()):
            return None
        runs = tuple(_list_runs(newest))
        return self._same_kinds.setdefault(
            (source, has_frames, drawn, runs),
            Kind(source=source, has_frames=has_frames, runs=runs, uuid=uuid),
        )

    def _read_histories(self, part: Part) -> dict[int, History]:
        """Return the histories of the reviews that a person decided."""
        persons = Decision.objects.filter(review=OuterRef("review"), by_policy=False)
        rows = Decision.objects.filter(part.build_filter("review"), Exists(persons))
        found = {}
        for review, group in groupby(sorted(rows.values_list(*_DECISION)), _get_first):
            decisions = list(group)
            found[review] = History(self._find_standing(decisions), _list_seconds(decisions))
        return found

    def _find_standing(self, decisions: list[Row]) -> Standing | None:
        places = {row[2]: place for place, row in enumerate(decisions)}
        history = tuple([(places.get(row[3]), places.get(row[4]), *row[6:]) for row in decisions])
        if history not in self._standings:
            self._standings[history] = _build_standing(history, self._watched)
        return self._standings[history]


def _list_runs(newest: Mapping[str, list[Row]]) -> Iterator[RunKey]:
    """Yield the runs that are evidence; each is given as its findings, by classifier."""
    for classifier, rows in sorted(newest.items()):
        _, version, status, flagged, covers, raw, score, _, _ = rows[0]
        if status == Classification.Status.SKIPPED or raw is None:
            continue
        yield RunKey(
            classifier,
            version,
            status != Classification.Status.DONE,
            _sort_findings(row[7:] for row in rows),
            score,
            flagged,
            covers,
            raw,
        )


def _sort_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings in an order that does not depend on the classifier's."""
    given = {one for one in findings if one[0] is not None}
    return tuple(sorted(given, key=lambda one: (one[0], one[1] is None, one[1] or 0)))


def _build_standing(history: Row, watched: Mapping[int, Collection[str]]) -> Standing | None:
    """Return the decision that counts, of decisions that refer to others by their place."""
    decisions: list[Decision] = []
    for place, row in enumerate(history):
        reverses, second_of, verdict, is_blurred, by_policy, policy, in_force, categories = row
        decisions.append(
            Decision(
                pk=place,
                reverses_id=reverses,
                second_of=None if second_of is None else decisions[second_of],
                verdict=verdict,
                is_blurred=is_blurred,
                by_policy=by_policy,
                policy_id=policy,
                policy_in_force_id=in_force,
                categories=json.loads(categories),
            )
        )
    decision = find_standing(decisions)
    if decision is None:
        return None
    return Standing(
        outcome=Outcome.BLUR if decision.is_blurred else Outcome(decision.verdict),
        truth=read_truth(decision, watched),
        is_blind=decision.second_of_id is not None,
    )


def _list_seconds(decisions: list[Row]) -> list[float]:
    return [row[5] for row in decisions if row[5] is not None and row[3] is None and not row[8]]


# Raw results are often the same text, and parsing them is a third of the work.
@lru_cache(maxsize=4096)
def _reduce_raw(text: str | None) -> str | None:
    """Return the telling parts of a raw result as JSON, "" without any, None for no evidence."""
    if text is None or not any(name in text for name in _QUOTED):
        return ""
    raw = json.loads(text)
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
