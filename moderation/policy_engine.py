"""Policy engine: computes a settlement from evidence, without side effects.

As a pure function it can also be tried on past reviews. Its main principle: doubt is never "clean";
an image that could not be judged goes to a person.

**Rules.** A category's rule sends to a person from ``review_at`` on, delivers blurred from
``blur_at`` on, and rejects from ``reject_at`` on, in this order; the highest limit that a finding
reaches counts. A category without a rule is ignored. A finding without a number goes to a person.

**Heuristic findings.** The numbers of a classifier that covers a category only heuristically are no
probabilities, so such a finding goes to a person from the lowest limit on. It never rejects and
never blurs by itself.

**Several findings.** The strongest counts: reject, person, blur, approve. An image with one
category for a person and another to blur therefore goes to a person. Delivering blurred is an
approval: it needs all that an approval needs, except that the blurred findings are allowed.

**NSFW level.** Level 0 is explicit content and hate symbols. Level 1 adds non-explicit nudity,
obstructed parts and kissing. Level 2 adds swimwear and underwear. The policy has one level, and
each score has the level at which it was requested.

**A score without a category** (Novita's detection) may stand for any category of its level. From
``nsfw.review_at`` on it sends to a person, unless it is explained.

**A score is explained** if a classifier names a category of the score's level on the same image,
without a number or at ``nsfw.review_at`` or more, and if the silence of this classifier counts for
all L1 categories on the score's level that have a rule. Then the named rules decide instead
of ``nsfw.review_at``: the score adds no doubt of its own.

**A score rejects** only together with a named category, because a rejection must have one. It is
read at its own level or the policy's, whichever is lower: it must reach ``nsfw.reject_at`` and the
``reject_at`` of every category of that level, and a classifier must have found one of these
categories at ``review_at`` or more. A score above the policy's level does not reject if a
classifier names a category above the policy's level: that category may be all that it means.

**Silence.** "Nothing found" counts for the L1 categories that a classifier covers, if the
classifier is trusted by itself or the policy names it (``trusted_silences``). With
``requires_full_coverage`` only full coverage counts. The policy approves only if every category
that it watches is covered in this way, or listed in ``accepted_unchecked``. A policy that names
classifiers accepts unchecked categories only where one of these classifiers judged the image.

**Earned trust.** For a classifier and category with a row of its own (``earned_trusts``), the
silence counts only while the evidence has a bound of its misses that is low enough. No bound, no
trust, whatever else says that this silence counts.

**Heads.** A finding of an advisory head only sorts the queue. A finding of an active head sends to
a person where others would blur or reject, unless the head may reject.

**More findings** never make an outcome milder, with one exception: a finding that explains a score.
Even then a rejection never becomes an approval. A higher confidence can also be milder from a
person to blurred, at ``blur_at``. The order of the evidence does not matter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum

from moderation import taxonomy
from moderation.matches import Match, Origin

# Risks of reviews without a confidence. ``Review.top_category_name`` maps them to text. Findings
# lie between UNSEEN_RISK and PARTLY_JUDGED_RISK: the queue starts with images that were not judged,
# and ends with images that were judged without findings.
UNJUDGED_RISK = 100  # no classifier could judge it
PARTLY_JUDGED_RISK = 99  # one of several classifiers could not judge it
FLAGGED_RISK = 90
UNSEEN_RISK = 1  # nothing found, but not all categories were checked
_FULL, _HEURISTIC = "full", "heuristic"  # values of Coverage


def rank_confidence(confidence: Decimal) -> int:
    """Return the risk of a finding with this confidence."""
    return min(max(int(confidence), UNSEEN_RISK + 1), PARTLY_JUDGED_RISK - 1)


class Outcome(StrEnum):
    APPROVE = "approve"
    BLUR = "blur"  # approved, but delivered blurred
    REJECT = "reject"
    PERSON = "person"


# Sort key of a finding without a confidence: in the middle. Never shown.
_UNSCORED = Decimal(50)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The result of one classification, as policies need it."""

    label: str  # the classifier's label
    failed: str = ""  # error of a failed or unfinished run; the fields below are then ignored
    # Category slug, and confidence 0..100 or None if the classifier gave none.
    findings: Sequence[tuple[str, Decimal | None]] = ()
    score: Decimal | None = None  # 0..100
    # The NSFW level of the score; None if unknown: the score may then stand for any category.
    score_level: int | None = None
    flagged: bool | None = None
    covers: Mapping[str, str] = field(default_factory=dict)  # L1 slug to coverage
    classifier: str = ""  # the classifier's slug
    # "Nothing found" may count towards an approval without a policy that trusts it.
    silence_counts: bool = True
    note: str = ""  # message that belongs to the verdict
    # Category slug to 0..100: sort keys of findings without a confidence. They decide nothing.
    ranks: Mapping[str, Decimal] = field(default_factory=dict)
    matches: Sequence[Match] = ()  # known images and hashes
    # L1 slug to the highest miss rate of this version's silence that audits do not rule out, in
    # percent. Without an entry, it is not known.
    miss_bounds: Mapping[str, Decimal] = field(default_factory=dict)
    # It only looks up hashes. Such evidence judges no content, so its silence says nothing.
    is_lookup: bool = False
    # Categories whose findings only sort the queue (advisory heads).
    sorting: Collection[str] = ()
    # Categories whose findings send to a person where others would blur or reject (heads).
    asking: Collection[str] = ()

    @property
    def has_scored_findings(self) -> bool:
        return any(confidence is not None for _, confidence in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The confidences from which a category is reviewed, delivered blurred, and rejected."""

    review_at: Decimal | None
    blur_at: Decimal | None = None
    reject_at: Decimal | None


def find_lowest(limits: Thresholds) -> Decimal | None:
    """Return the lowest limit of a rule; None for a rule without limits."""
    given = (limits.review_at, limits.blur_at, limits.reject_at)
    return min((limit for limit in given if limit is not None), default=None)


# For findings without a number: always to a person, never rejected.
_ALWAYS = Thresholds(review_at=Decimal(0), reject_at=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """A policy without its database row."""

    name: str
    per_category: Mapping[str, Thresholds]
    nsfw_level: int = 0
    nsfw: Thresholds
    may_approve: bool = True
    trusted_silences: Collection[str] = ()  # classifier slugs
    accepted_unchecked: Collection[str] = ()  # L1 slugs
    requires_full_coverage: bool = False
    # Classifier and L1 slug to the highest miss rate, in percent, at which its silence counts.
    earned_trusts: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)
    approves_imports: bool = False
    reuses_approvals: bool = False
    trusts_allow_lists: bool = False

    def for_category(self, slug: str) -> Thresholds | None:
        """Return the rule of a category or its L1; None if the policy ignores it."""
        return self.per_category.get(slug) or self.per_category.get(taxonomy.get(slug).l1)

    def for_score(self, level: int) -> Thresholds:
        """Return the thresholds of a score at a level, read at the policy's level if that is lower.

        A score rejects only what every category's own rule would reject.
        """
        limits = [self.nsfw.reject_at]
        for slug in taxonomy.list_level_categories(min(level, self.nsfw_level)):
            rule = self.for_category(slug)
            limits.append(rule.reject_at if rule else None)
        known = [limit for limit in limits if limit is not None]
        return Thresholds(
            review_at=self.nsfw.review_at,
            reject_at=max(known) if len(known) == len(limits) else None,
        )

    @property
    def watched(self) -> set[str]:
        """L1 categories that must be covered before the policy may approve."""
        return {taxonomy.get(slug).l1 for slug in self.per_category}

    def list_minded(self, level: int) -> set[str]:
        """Return the L1 categories on an NSFW level that have a rule."""
        listed = taxonomy.list_level_categories(level)
        return {taxonomy.get(slug).l1 for slug in listed if self.for_category(slug)}

    def trusts_silence_of(self, item: Evidence) -> bool:
        """Return whether "nothing found" of a classification counts towards an approval."""
        return item.silence_counts or item.classifier in self.trusted_silences

    def list_seen(self, item: Evidence) -> set[str]:
        """Return the L1 categories for which the silence of a classification counts."""
        if item.failed:
            return set()
        return {
            slug
            for slug, coverage in item.covers.items()
            if (coverage == _FULL or not self.requires_full_coverage)
            and self._counts_silence(item, slug)
        }

    def _counts_silence(self, item: Evidence, l1: str) -> bool:
        """Return whether the silence counts: by the bound, where the policy sets one."""
        most = self.earned_trusts.get((item.classifier, l1))
        if most is None:
            return self.trusts_silence_of(item)
        return l1 in item.miss_bounds and item.miss_bounds[l1] <= most

    def explain_trust(self, item: Evidence, *, counts: bool) -> str:
        """Return a sentence about the categories whose silence has earned trust, or has not."""
        parts = []
        for (classifier, l1), most in sorted(self.earned_trusts.items()):
            if classifier != item.classifier or l1 not in item.covers or item.failed:
                continue
            if self._counts_silence(item, l1) is not counts:
                continue
            bound = item.miss_bounds.get(l1)
            known = "are not known" if bound is None else f"are up to {bound:.2f} %"
            parts.append(f"its misses of {_join_l1_names([l1])} {known}, {most:.2f} % allowed")
        if not parts:
            return ""
        verb = "has earned" if counts else "has not earned"
        return f" “Nothing found” of {item.label} {verb} trust: {'; '.join(parts)}."

    def list_accepted(self, evidence: Iterable[Evidence]) -> set[str]:
        """Return the L1 categories that need no check, by these classifications."""
        named = self.trusted_silences
        if named and not any(item.classifier in named for item in evidence):
            return set()
        return set(self.accepted_unchecked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The result of applying a policy to one image."""

    outcome: Outcome
    reason: str
    risk: int = 0
    top_category: str = ""
    confidence: Decimal | None = None
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NsfwVerdict:
    """The NSFW verdict on an image. ``flagged`` is None in doubt; ``reason`` then explains it."""

    flagged: bool | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hit:
    """A finding, score or verdict with the thresholds that apply to it."""

    category: str  # "" for a score or verdict without one
    confidence: Decimal
    source: str
    limits: Thresholds
    # False for a category without a number: its confidence is a sort key.
    scored: bool = True
    place: int = 0  # of a finding: its place in the classifier's list
    level: int = 0  # of a score: its level
    # The reason, for a "yes" without number and category: its confidence is not measured.
    verdict: str = ""
    rank: Decimal | None = None  # sort key, if it is not the confidence
    explanation: str = ""  # of a score: the named finding that explains it

    @property
    def is_score(self) -> bool:
        return not self.category and not self.verdict

    @property
    def found(self) -> str:
        if self.is_score:
            return (
                f"{self.source} gave a score of {self.confidence:.0f} without a category, asked at"
                f" level {self.level}"
            )
        name = taxonomy.join_names([self.category])
        return f"{self.source} found {name}" + (f" at {self.confidence:.0f}" if self.scored else "")

    @property
    def risk(self) -> int:
        return rank_confidence(self.confidence if self.rank is None else self.rank)

    @property
    def shown(self) -> Decimal | None:
        return self.confidence if self.scored else None

    @property
    def order(self) -> tuple[bool, Decimal, int, str, str]:
        """Sort key: named categories first, then by confidence; the rest makes it total.

        A classifier lists findings of equal or no confidence in its own order.
        """
        return bool(self.category), self.confidence, -self.place, self.category, self.source

    @property
    def is_relevant(self) -> bool:
        if self.explanation:
            return False
        limits = self.limits
        return any(map(self.reaches, (limits.review_at, limits.blur_at, limits.reject_at)))

    @property
    def asks_person(self) -> bool:
        return self.is_relevant and self.reaches(self.limits.review_at) and not self.blurs

    @property
    def blurs(self) -> bool:
        return self.reaches(self.limits.blur_at)

    def reaches(self, limit: Decimal | None) -> bool:
        return limit is not None and self.confidence >= limit


def settle(rules: Rules, evidence: Iterable[Evidence], *, imported: bool = False) -> Settlement:
    """Apply a policy to the evidence about one asset.

    ``imported``: the asset is an imported file.
    """
    given = list(evidence)
    settlement = _settle(rules, given, _find_hits(rules, given, given), imported=imported)
    return _sort_by_advice(rules, given, settlement)


def _settle(
    rules: Rules, given: list[Evidence], found: Iterable[_Hit], *, imported: bool
) -> Settlement:
    known = [match for item in given for match in item.matches]
    hits = sorted(found, key=lambda hit: hit.order, reverse=True)
    # A rejection is the safe outcome and needs no complete evidence; an approval does.
    rejection = _reject_known_file(known) or _find_rejection(rules, hits)
    if rejection is not None:
        return rejection
    failed = [item for item in given if item.failed]
    reviewing = [hit for hit in hits if hit.asks_person]
    blurring = [hit for hit in hits if hit.blurs]
    if not failed and not reviewing:
        approval = _approve_known_file(rules, known, blurring, imported=imported)
        if approval is not None:
            return approval
    judging = [item for item in given if not item.is_lookup]
    if failed or not judging:
        return _settle_unjudged(failed, hits, judged=any(not item.failed for item in judging))
    settlement = (
        _settle_review(rules, reviewing)
        if reviewing
        else _settle_approvable(rules, judging, blurring, imported=imported)
    )
    return _mention_explained(settlement, [hit for hit in hits if hit.explanation])


def _sort_by_advice(rules: Rules, given: list[Evidence], settlement: Settlement) -> Settlement:
    """Move an image for a person up in the queue by findings that only sort."""
    advice = [
        (confidence, slug, item.label)
        for item in given
        if not item.failed
        for slug, confidence in item.findings
        if slug in item.sorting and confidence is not None and rules.for_category(slug)
    ]
    if settlement.outcome is not Outcome.PERSON or not advice:
        return settlement
    confidence, slug, label = max(advice)
    names = f"{label} found {taxonomy.join_names([slug])} at {confidence:.0f}"
    named = bool(settlement.top_category) or settlement.confidence is not None
    return replace(
        settlement,
        reason=f"{settlement.reason} {names}, which only sorts the queue.",
        risk=max(settlement.risk, rank_confidence(confidence)),
        top_category=settlement.top_category if named else slug,
        confidence=settlement.confidence if named else confidence,
    )


def _mention_explained(settlement: Settlement, scores: list[_Hit]) -> Settlement:
    """Add the explained scores to the reason. They still sort an image with other findings."""
    reason = settlement.reason + "".join(f" {hit.found}; {hit.explanation}." for hit in scores)
    if settlement.risk <= UNSEEN_RISK:
        return replace(settlement, reason=reason)
    risk = max([settlement.risk, *(rank_confidence(hit.confidence) for hit in scores)])
    return replace(settlement, reason=reason, risk=risk)


def _reject_known_file(matches: Iterable[Match]) -> Settlement | None:
    """Reject a file that was rejected before or is on a block list, whatever the thresholds."""
    rejecting = [match for match in matches if match.rejects]
    if not rejecting:
        return None
    categories = tuple(dict.fromkeys(slug for match in rejecting for slug in match.categories))
    return Settlement(
        outcome=Outcome.REJECT,
        reason=f"{rejecting[0].text}.",
        top_category=categories[0],
        categories=categories,
    )


def _approve_known_file(
    rules: Rules, matches: Iterable[Match], blurring: list[_Hit], *, imported: bool
) -> Settlement | None:
    """Approve a file that a person approved or that is on an allow list, if the policy may.

    It is blurred if one of these approvals or a finding says so.
    """
    if not rules.may_approve or (imported and not rules.approves_imports):
        return None
    trusted = {
        Origin.APPROVED: rules.reuses_approvals,
        Origin.ALLOWED: rules.trusts_allow_lists,
    }
    counting = [
        match for match in matches if match.is_same_file and trusted.get(match.origin, False)
    ]
    if not counting:
        return None
    match = next((match for match in counting if match.is_blurred), counting[0])
    reason = f"{match.text}; {rules.name} counts that as an approval."
    if blurring:
        return _blur(rules, blurring, reason)
    outcome = Outcome.BLUR if match.is_blurred else Outcome.APPROVE
    return Settlement(
        outcome=outcome, reason=reason, categories=match.categories if match.is_blurred else ()
    )


def judge_nsfw(rules: Rules, evidence: Iterable[Evidence]) -> NsfwVerdict:
    """Return whether an image is NSFW by the categories of the policy's NSFW level.

    True needs a finding that reaches a threshold, a score at no higher level, a classifier's own
    "yes", or a known file that rejects. False needs everything that an approval needs, ignoring
    findings outside the level. A look-alike and a listed file without a category are in doubt.
    """
    given = list(evidence)
    bad = [match for item in given for match in item.matches if match.is_bad]
    if any(
        is_on_level(slug, rules.nsfw_level) for one in bad if one.rejects for slug in one.categories
    ):
        return NsfwVerdict(flagged=True)
    known = [_keep_good_matches(item) if item.is_lookup else item for item in given]
    on_level = [_keep_on_level(item, rules.nsfw_level) for item in known]
    hits = list(_find_hits(rules, on_level, known))
    if any(hit.is_relevant for hit in hits if hit.level <= rules.nsfw_level):
        return NsfwVerdict(flagged=True)
    if doubtful := [match for match in bad if not match.rejects]:
        return NsfwVerdict(flagged=None, reason=_describe_doubt(doubtful[0]))
    settlement = _settle(rules, on_level, hits, imported=False)
    if settlement.outcome is Outcome.APPROVE:
        return NsfwVerdict(flagged=False)
    return NsfwVerdict(flagged=None, reason=settlement.reason)


def _describe_doubt(match: Match) -> str:
    """Return the reason for programs: without names, notes and ids of other images."""
    known = "a rejected image" if match.origin is Origin.REJECTED else "an entry of a block list"
    if match.is_same_file:
        return f"It is the same file as {known}, without a category."
    return f"It looks like {known}."


def _keep_good_matches(item: Evidence) -> Evidence:
    """Return a look-up without its bad matches: what they mean depends on their categories."""
    good = [match for match in item.matches if not match.is_bad]
    return replace(item, findings=(), flagged=None, note="", matches=good)


def _keep_on_level(item: Evidence, level: int) -> Evidence:
    kept = [finding for finding in item.findings if is_on_level(finding[0], level)]
    # A "yes" with findings refers to these findings, unless it has a message of its own.
    flagged = None if item.findings and not kept and not item.note else item.flagged
    return replace(item, findings=kept, flagged=flagged)


def is_on_level(slug: str, level: int) -> bool:
    """Return whether a category, its L1 or any of its L2s is on an NSFW level."""
    listed = taxonomy.list_level_categories(level)
    below = {child.slug for child in taxonomy.list_children(slug)}
    return slug in listed or taxonomy.get(slug).l1 in listed or not below.isdisjoint(listed)


def _find_hits(rules: Rules, evidence: list[Evidence], whole: list[Evidence]) -> Iterable[_Hit]:
    """Yield the findings, scores and verdicts of the evidence that the policy acts on.

    ``whole`` is the complete evidence on the image, which may explain a score.
    """
    for item in evidence:
        if item.failed:
            continue
        yield from _find_named_hits(rules, item)
        if item.score is not None:
            yield _build_score_hit(rules, item, item.score, whole)
        elif item.flagged and (item.note or not item.has_scored_findings):
            # A verdict without score and category goes to a person, and so does one with a message
            # that findings below every threshold do not express.
            detail = item.note or "no category was named."
            is_ranked = any(
                slug in item.ranks and rules.for_category(slug) for slug, _ in item.findings
            )
            yield _Hit(
                category="",
                confidence=Decimal(100),
                rank=Decimal(0 if is_ranked else FLAGGED_RISK),
                source=item.label,
                limits=_ALWAYS,
                verdict=f"{item.label} flagged it: {detail}",
            )


def _find_named_hits(rules: Rules, item: Evidence) -> Iterable[_Hit]:
    for place, (category, confidence) in enumerate(item.findings):
        limits = rules.for_category(category)
        if limits is None or category in item.sorting:
            continue
        scored = confidence is not None
        is_heuristic = item.covers.get(taxonomy.get(category).l1) == _HEURISTIC
        if is_heuristic or category in item.asking:
            limits = Thresholds(review_at=find_lowest(limits), reject_at=None)
        yield _Hit(
            category=category,
            confidence=_UNSCORED if confidence is None else confidence,
            source=item.label,
            limits=limits if scored else _ALWAYS,
            scored=scored,
            rank=None if scored else item.ranks.get(category),
            place=place,
        )


def _build_score_hit(rules: Rules, item: Evidence, score: Decimal, whole: list[Evidence]) -> _Hit:
    level = max(taxonomy.LEVELS) if item.score_level is None else item.score_level
    limits = rules.for_score(level)
    named = list(_find_explaining(rules, whole, level))
    if any(not is_on_level(slug, rules.nsfw_level) for _, slug in named):
        # At a level above the policy's, it may mean just this category.
        limits = replace(limits, reject_at=None if level > rules.nsfw_level else limits.reject_at)
    minded = rules.list_minded(level)
    names = sorted(
        f"{source.label} found {taxonomy.join_names([slug])}, which explains it"
        for source, slug in named
        if minded <= rules.list_seen(source)
    )
    return _Hit(
        category="",
        confidence=score,
        source=item.label,
        limits=limits,
        level=level,
        explanation=names[0] if names and score >= (rules.nsfw.review_at or 0) else "",
    )


def _find_explaining(
    rules: Rules, evidence: list[Evidence], level: int
) -> Iterable[tuple[Evidence, str]]:
    """Yield the findings on a level that are certain enough to be what a score means."""
    least = rules.nsfw.review_at or Decimal(0)
    for item in evidence:
        if item.failed or item.is_lookup:
            continue
        for slug, confidence in item.findings:
            if slug in item.sorting or slug in item.asking:
                continue  # it may not make an outcome milder
            if is_on_level(slug, level) and (confidence is None or confidence >= least):
                yield item, slug


def _find_rejection(rules: Rules, hits: list[_Hit]) -> Settlement | None:
    """Reject by a found category, or by a score with a matching category.

    ``hits`` must be in order.
    """
    named = [hit for hit in hits if hit.category and hit.reaches(hit.limits.reject_at)]
    if named:
        return _reject(
            named, f"{named[0].found}; {rules.name} rejects from {named[0].limits.reject_at:.0f}."
        )
    for score in (hit for hit in hits if hit.is_score and hit.reaches(hit.limits.reject_at)):
        named = [
            hit
            for hit in hits
            if hit.category
            and hit.is_relevant
            and is_on_level(hit.category, min(score.level, rules.nsfw_level))
        ]
        if named:
            reason = f"{named[0].found}, and {score.found}; {rules.name} rejects such a score from"
            return _reject(named, f"{reason} {score.limits.reject_at:.0f}.")
    return None


def _reject(hits: list[_Hit], reason: str) -> Settlement:
    return Settlement(
        outcome=Outcome.REJECT,
        reason=reason,
        top_category=hits[0].category,
        confidence=hits[0].shown,
        categories=tuple(dict.fromkeys(hit.category for hit in hits)),
    )


def _settle_unjudged(failed: list[Evidence], hits: list[_Hit], *, judged: bool) -> Settlement:
    reason = (
        " ".join(f"{item.label} could not judge it: {item.failed}" for item in failed)
        or "No classifier could classify it."
    )
    first = next((hit for hit in hits if hit.is_relevant and not hit.verdict), None)
    reason = " ".join([reason, *(hit.verdict for hit in hits if hit.verdict)])
    return Settlement(
        outcome=Outcome.PERSON,
        reason=reason,
        risk=PARTLY_JUDGED_RISK if judged else UNJUDGED_RISK,
        top_category=first.category if first else "",
        confidence=first.shown if first else None,
    )


def _settle_review(rules: Rules, hits: list[_Hit]) -> Settlement:
    """Send to a person: measured findings first, then verdicts without a number."""
    verdicts = " ".join(hit.verdict for hit in hits if hit.verdict)
    measured = [hit for hit in hits if not hit.verdict]
    if not measured:
        reason = f"{verdicts} {rules.name.capitalize()} leaves that to a person."
        return Settlement(outcome=Outcome.PERSON, reason=reason, risk=FLAGGED_RISK)
    first = measured[0]
    limit = (
        f"from {first.limits.review_at:.0f}" if first.scored else "because no confidence was given"
    )
    scores = "".join(f" {hit.found}." for hit in measured[1:] if hit.is_score)
    reason = f"{first.found}; {rules.name} asks a person {limit}.{scores} {verdicts}".rstrip()
    return Settlement(
        outcome=Outcome.PERSON,
        reason=reason,
        risk=max(hit.risk for hit in hits),
        top_category=first.category,
        confidence=first.shown,
    )


def _settle_approvable(
    rules: Rules, evidence: list[Evidence], blurring: list[_Hit], *, imported: bool
) -> Settlement:
    """Approve, or deliver blurred, what no finding sends to a person, if nothing is in doubt."""
    names = " and ".join(sorted(item.label for item in evidence))
    seen = {slug for item in evidence for slug in rules.list_seen(item)}
    unseen = rules.watched - seen
    accepted = unseen & rules.list_accepted(evidence)
    first = blurring[0] if blurring else None
    found = first.found if first else f"{names} found nothing"
    if not rules.may_approve:
        found = found if first else "Nothing found"
        return _leave_to_person(f"{found}; {rules.name} leaves every approval to people.", blurring)
    if unseen - accepted:
        checked = "covers fully" if rules.requires_full_coverage else "checked"
        missing = _join_l1_names(unseen - accepted)
        reason = f"{found}, but no classifier {checked}: {missing}."
        reason += "".join(rules.explain_trust(item, counts=False) for item in evidence)
        return _leave_to_person(reason, blurring, risk=UNSEEN_RISK)
    if imported and not rules.approves_imports:
        reason = f"{found}; {rules.name} leaves imported files to people."
        return _leave_to_person(reason, blurring)
    reason = f"{names} found nothing{' else' if first else ''} that {rules.name} acts on."
    trusted = sorted(
        item.label for item in evidence if not item.silence_counts and rules.trusts_silence_of(item)
    )
    if trusted:
        reason += f" It counts “nothing found” of {' and '.join(trusted)}."
    reason += "".join(rules.explain_trust(item, counts=True) for item in evidence)
    if accepted:
        reason += f" It accepts unchecked: {_join_l1_names(accepted)}."
    if blurring:
        return _blur(rules, blurring, reason)
    return Settlement(outcome=Outcome.APPROVE, reason=reason)


def _leave_to_person(reason: str, blurring: list[_Hit], *, risk: int = 0) -> Settlement:
    """Send an image that would otherwise be approved, or delivered blurred, to a person."""
    if not blurring:
        return Settlement(outcome=Outcome.PERSON, reason=reason, risk=risk)
    return Settlement(
        outcome=Outcome.PERSON,
        reason=reason,
        risk=max(rank_confidence(hit.confidence) for hit in blurring),
        top_category=blurring[0].category,
        confidence=blurring[0].confidence,
    )


def _blur(rules: Rules, hits: list[_Hit], reason: str) -> Settlement:
    """Deliver blurred because of these findings, which must be in order."""
    first = hits[0]
    return Settlement(
        outcome=Outcome.BLUR,
        reason=f"{first.found}; {rules.name} delivers it blurred from {first.limits.blur_at:.0f}. "
        + reason,
        top_category=first.category,
        confidence=first.confidence,
        categories=tuple(dict.fromkeys(hit.category for hit in hits)),
    )


def _join_l1_names(slugs: Collection[str]) -> str:
    """Return the names of L1 categories in the order of the taxonomy."""
    return taxonomy.join_names(l1.slug for l1 in taxonomy.L1 if l1.slug in slugs)
