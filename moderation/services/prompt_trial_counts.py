"""Counts of a prompt trial: the requests that a rule would block, and what became of their images.

The counts are JSON, so that a trial can pause at any request and go on in another process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db.models import QuerySet, Sum

from generation.models import GenerationRequest
from moderation.judgement.estimates import Figure, estimate_wilson
from moderation.models import Classification, Decision, Review, Verdict
from moderation.prompt_rules import Match, PromptRule
from moderation.services.costs import list_unbilled
from moderation.services.trial_figures import find_median

AT_ONCE: Final = 500  # requests, and values of a statement; SQLite accepts about 1,000
EXAMPLES: Final = 24  # images and requests that a page shows
HOUR: Final = 3_600  # seconds

Counts = dict[str, Any]
NUMBERS: Final = (
    "requests",
    "images",
    "approved",
    "rejected",
    "blocked",
    "blocked_images",
    "blocked_approved",
    "blocked_approved_by_people",
    "blocked_rejected",
    "blocked_waiting",
    "blocked_without_image",
    "looks",
)
TERM_NUMBERS: Final = ("requests", "only", "images", "approved", "rejected")


def open_counts() -> Counts:
    """Return counts of nothing."""
    return {
        **dict.fromkeys(NUMBERS, 0),
        "usd": "0",
        "usd_all": "0",
        "usd_classifiers": "0",
        "seconds": {},  # of people's decisions on images of blocked requests
        "terms": {},
        "lost": [],  # the newest reviews that were approved, and would have been lost
        "examples": [],  # the newest requests that would be blocked
    }


@dataclass(slots=True)
class Blocked:
    """A request that the rule would block."""

    pk: int
    cost: Decimal
    match: Match
    statuses: list[str] = field(default_factory=list)


class PromptTally:
    """The running counts of a trial."""

    def __init__(self, rule: PromptRule, counts: Counts | None = None) -> None:
        self._rule = rule
        self._unbilled = list_unbilled()
        self.counts = counts or open_counts()

    def count(self, requests: QuerySet[GenerationRequest]) -> int:
        """Count up to ``AT_ONCE`` of the requests; return the last primary key, 0 without any."""
        rows = list(requests.order_by("pk").values_list("pk", "prompt", "cost")[:AT_ONCE])
        if not rows:
            return 0
        blocked = {}
        for pk, prompt, cost in rows:
            self._add_usd("usd_all", cost)
            match = self._rule.match(prompt)
            if match.is_blocked:
                blocked[pk] = Blocked(pk, cost or Decimal(0), match)
        self.counts["requests"] += len(rows)
        lost, assets, reviews = self._count_images([pk for pk, _, _ in rows], blocked)
        for request in blocked.values():
            self._count_blocked(request)
        self._count_looks(reviews)
        self._count_classifiers(assets)
        self._keep("lost", lost)
        self._keep("examples", list(blocked))
        return int(rows[-1][0])

    def _count_images(
        self, requests: Sequence[int], blocked: Mapping[int, Blocked]
    ) -> tuple[list[int], list[int], list[int]]:
        """Count the images; return lost reviews, and assets and reviews of blocked requests."""
        lost, assets, reviews = [], [], []
        rows = Review.objects.filter(asset__request__in=requests).order_by("pk")
        for pk, asset, request, status, person in rows.values_list(
            "pk", "asset", "asset__request", "status", "decided_by"
        ):
            self.counts["images"] += 1
            if status in Review.DECIDED:
                self.counts[status] += 1
            if request not in blocked:
                continue
            blocked[request].statuses.append(status)
            assets.append(asset)
            reviews.append(pk)
            if status == Review.Status.APPROVED:
                lost.append(pk)
                self.counts["blocked_approved_by_people"] += person is not None
        return lost, assets, reviews

    def _count_blocked(self, request: Blocked) -> None:
        statuses = Counter(request.statuses)
        approved = statuses[Review.Status.APPROVED]
        rejected = statuses[Review.Status.REJECTED]
        images = statuses.total()
        counts = self.counts
        counts["blocked"] += 1
        counts["blocked_images"] += images
        counts["blocked_approved"] += approved
        counts["blocked_rejected"] += rejected
        counts["blocked_waiting"] += images - approved - rejected
        counts["blocked_without_image"] += not images
        self._add_usd("usd", request.cost)
        for term in request.match.terms:
            row = counts["terms"].setdefault(
                str(term), {**dict.fromkeys(TERM_NUMBERS, 0), "usd": "0"}
            )
            row["requests"] += 1
            row["only"] += term in request.match.needed
            row["images"] += images
            row["approved"] += approved
            row["rejected"] += rejected
            row["usd"] = str(Decimal(row["usd"]) + request.cost)

    def _count_looks(self, reviews: Sequence[int]) -> None:
        """Count people's decisions on these images, reversed ones too: each was a look."""
        seconds: Counter[str] = Counter(self.counts["seconds"])
        for part in _split(reviews):
            rows = Decision.objects.filter(review__in=part, by_policy=False)
            for value in rows.exclude(verdict=Verdict.REVERSE).values_list("seconds", flat=True):
                self.counts["looks"] += 1
                if value is not None:
                    seconds[str(value)] += 1
        self.counts["seconds"] = dict(seconds)

    def _count_classifiers(self, assets: Sequence[int]) -> None:
        for part in _split(assets):
            rows = Classification.objects.filter(asset__in=part)
            rows = rows.exclude(classifier__in=self._unbilled)
            self._add_usd("usd_classifiers", rows.aggregate(usd=Sum("cost"))["usd"])

    def _add_usd(self, name: str, usd: Decimal | None) -> None:
        if usd:
            self.counts[name] = str(Decimal(self.counts[name]) + usd)

    def _keep(self, name: str, pks: Iterable[int]) -> None:
        self.counts[name] = [*self.counts[name], *pks][-EXAMPLES:]


def _split(pks: Sequence[int]) -> list[Sequence[int]]:
    return [pks[start : start + AT_ONCE] for start in range(0, len(pks), AT_ONCE)]


def build_figures(
    counts: Counts, rule: PromptRule, *, days: int, since: datetime, expected: int
) -> dict[str, Any]:
    """Return the figures of a trial. With fewer requests than expected they are of a sample."""
    approved, rejected = counts["blocked_approved"], counts["blocked_rejected"]
    median = find_median(counts["seconds"])
    usd, classifiers = Decimal(counts["usd"]), Decimal(counts["usd_classifiers"])
    return {
        "days": days,
        "since": since.isoformat(),
        "requests": {
            "counted": counts["requests"],
            "expected": max(expected, counts["requests"]),
            "blocked": _describe(counts["blocked"], counts["requests"]),
            "without_image": counts["blocked_without_image"],
        },
        "usd": {
            "saved": float(usd + classifiers),
            "generation": float(usd),
            "classifiers": float(classifiers),
            "generation_of_all": float(counts["usd_all"]),
        },
        "images": {
            "all": counts["images"],
            "blocked": counts["blocked_images"],
            "approved": approved,
            "approved_by_people": counts["blocked_approved_by_people"],
            "rejected": rejected,
            "waiting": counts["blocked_waiting"],
        },
        # Of the decided images of blocked requests, and of everything that was decided so.
        "lost": _describe(approved, approved + rejected),
        "lost_of_approved": _describe(approved, counts["approved"]),
        "prevented_of_rejected": _describe(rejected, counts["rejected"]),
        "looks": {
            "saved": counts["looks"],
            "median_seconds": median,
            "timed": sum(counts["seconds"].values()),
            "hours": None if median is None else counts["looks"] * median / HOUR,
        },
        "terms": [_describe_term(str(term), counts["terms"].get(str(term))) for term in rule.terms],
        "kept": {"lost": counts["lost"], "examples": counts["examples"]},
    }


def _describe(hits: int, n: int) -> dict[str, Any]:
    figure: Figure = estimate_wilson(hits, n, minimum=1)
    return {
        "hits": hits,
        "n": n,
        "value": figure.value,
        "low": figure.low,
        "high": figure.high,
    }


def _describe_term(name: str, row: Mapping[str, Any] | None) -> dict[str, Any]:
    found = row or {**dict.fromkeys(TERM_NUMBERS, 0), "usd": "0"}
    decided = found["approved"] + found["rejected"]
    return {
        "term": name,
        **found,
        "usd": float(found["usd"]),
        "lost": _describe(found["approved"], decided),
    }
