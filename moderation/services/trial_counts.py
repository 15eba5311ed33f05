"""Counts of a trial: what two policies do with the same images, against people's decisions.

The counts are JSON, so that a trial can pause at any image and go on in another process.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from moderation.models import Review
from moderation.policy_engine import Outcome
from moderation.services.trial_evidence import Image, Judge, Judged, Kind, Standing

OUTCOMES: Final = (Outcome.APPROVE, Outcome.BLUR, Outcome.PERSON, Outcome.REJECT)
KEPT: Final = 500  # images of a cell that are kept, drawn at random
SECONDS_MAX: Final = 3600
ANY: Final = "any"  # instead of a category: all of them together
NEAR_APPROVALS, NEAR_REJECTIONS = "near-approvals", "near-rejections"
_STANDING = {
    Review.Status.APPROVED: Outcome.APPROVE,
    Review.Status.REJECTED: Outcome.REJECT,
}
_SEPARATOR = " "  # in keys; no slug has it
_SPREAD, _RANGE = 2_654_435_761, 4_294_967_296  # Knuth's multiplicative hash


def find_place(pk: int) -> int:
    """Return the place of a review in a random order that is the same in every process."""
    mixed = pk * _SPREAD % _RANGE
    return (mixed ^ (mixed >> 15)) * _SPREAD % _RANGE


def name_cell(kind: str, old: str, new: str) -> str:
    """Return the key of the images that change from one outcome to another.

    ``kind``: "policy" compares with the baseline policy, "record" with what stands.
    """
    return f"{kind}-{old}-{new}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Images that are the same to a trial: their evidence, what people and both policies say."""

    kind: Kind
    old: Judged
    new: Judged
    stands: Outcome
    standing: Standing | None
    pks: list[int]


class Tally:
    """Counts of images, and the images of each cell that are kept."""

    def __init__(self, stored: dict[str, Any] | None = None) -> None:
        given = stored or {}
        self.images: int = given.get("images", 0)
        # By baseline, what stands, and candidate; the others are split by their first words.
        self.cells = Counter(given.get("cells", {}))
        # By policy, kind of error, kind of verdict, category, and "wrong" or "all".
        self.truth = Counter(given.get("truth", {}))
        # Changed images by the kind of their verdict: "blind", "influenced" or "none".
        self.changed = Counter(given.get("changed", {}))
        # Changed images with a person's verdict, by baseline, candidate and verdict.
        self.verdicts = Counter(given.get("verdicts", {}))
        self.seconds = Counter(given.get("seconds", {}))
        # By classifier with an ask rule: images, and asked by each policy.
        self.asks = Counter(given.get("asks", {}))
        self.near = Counter(given.get("near", {}))
        self._kept: dict[str, list[tuple[int, int]]] = {
            cell: [(-find_place(pk), pk) for pk in pks]
            for cell, pks in given.get("kept", {}).items()
        }
        for heap in self._kept.values():
            heapq.heapify(heap)

    def to_json(self) -> dict[str, Any]:
        counters = ("cells", "truth", "changed", "verdicts", "seconds", "asks", "near")
        return {
            "images": self.images,
            **{name: dict(sorted(getattr(self, name).items())) for name in counters},
            "kept": {
                cell: [pk for _, pk in sorted(heap, reverse=True)]
                for cell, heap in sorted(self._kept.items())
            },
        }

    def add(self, images: Iterable[Image], baseline: Judge, candidate: Judge) -> None:
        """Count images by what both policies do with them: equal ones at once."""
        asked = {rule.classifier for one in (baseline, candidate) for rule in one.policy.ask_rules}
        same: dict[tuple[Kind, str, bool, Standing | None], list[int]] = defaultdict(list)
        seconds: Counter[float] = Counter()
        for image in images:
            same[image.kind, image.status, image.is_blurred, image.standing].append(image.pk)
            seconds.update(image.seconds)
        for (kind, status, is_blurred, standing), pks in same.items():
            case = Case(
                kind=kind,
                old=baseline.settle(kind),
                new=candidate.settle(kind),
                stands=find_standing_outcome(status, is_blurred=is_blurred),
                standing=standing,
                pks=pks,
            )
            self._count(case)
            self._count_asks(asked, case)
        for second, number in seconds.items():
            self.seconds[f"{min(second, SECONDS_MAX):.1f}"] += number

    def _count(self, case: Case) -> None:
        number, old, new, standing = len(case.pks), case.old, case.new, case.standing
        self.images += number
        self.cells[_join(old.outcome, case.stands, new.outcome)] += number
        self._note_changes(case, number)
        if standing is not None:
            self._count_truth("baseline", old, standing, number)
            self._count_truth("candidate", new, standing, number)

    def _note_changes(self, case: Case, number: int) -> None:
        old, new, standing = case.old.outcome, case.new.outcome, case.standing
        if new is not old:
            self._keep(name_cell("policy", old, new), case.pks)
            self.changed[_name_kind(standing)] += number
            if standing is not None:
                self.verdicts[_join(old, new, standing.outcome)] += number
        if new is not case.stands:
            self._keep(name_cell("record", case.stands, new), case.pks)
        if case.new.is_near:
            cell = NEAR_APPROVALS if new is Outcome.APPROVE else NEAR_REJECTIONS
            self.near[cell] += number
            self._keep(cell, case.pks)

    def _keep(self, cell: str, pks: Iterable[int]) -> None:
        heap = self._kept.setdefault(cell, [])
        for pk in pks:
            item = (-find_place(pk), pk)
            if len(heap) < KEPT:
                heapq.heappush(heap, item)
            elif item > heap[0]:
                heapq.heapreplace(heap, item)

    def _count_truth(self, policy: str, judged: Judged, standing: Standing, number: int) -> None:
        kinds = ("all", "blind") if standing.is_blind else ("all",)
        for kind in kinds:
            if judged.outcome in (Outcome.APPROVE, Outcome.BLUR):
                self._count_approval(_join(policy, "approvals", kind), judged, standing, number)
            elif judged.outcome is Outcome.REJECT:
                wrong = number * (standing.outcome is not Outcome.REJECT)
                for slug in (ANY, *judged.rejected_for):
                    self._count_pair(_join(policy, "rejections", kind, slug), number, wrong)

    def _count_approval(self, place: str, judged: Judged, standing: Standing, number: int) -> None:
        """Count approvals as wrong for the categories that a person saw and they let through."""
        is_wrong = standing.outcome is Outcome.REJECT or (
            standing.outcome is Outcome.BLUR and judged.outcome is Outcome.APPROVE
        )
        wrong = number * is_wrong
        self._count_pair(_join(place, ANY), number, wrong)
        for slug in standing.truth.absent:
            self._count_pair(_join(place, slug), number, 0)
        for slug in standing.truth.shown:
            if "." not in slug:
                self._count_pair(_join(place, slug), number, wrong)

    def _count_pair(self, place: str, number: int, wrong: int) -> None:
        self.truth[_join(place, "all")] += number
        if wrong:
            self.truth[_join(place, "wrong")] += wrong

    def _count_asks(self, slugs: Iterable[str], case: Case) -> None:
        """Count the images with a result of a classifier that both policies, or one, ask."""
        number = len(case.pks)
        present = {run.classifier for run in case.kind.runs}
        for slug in present.intersection(slugs):
            self.asks[_join(slug, "images")] += number
            self.asks[_join(slug, "baseline")] += number * (slug not in case.old.not_asked)
            self.asks[_join(slug, "candidate")] += number * (slug not in case.new.not_asked)


def find_standing_outcome(status: str, *, is_blurred: bool) -> Outcome:
    """Return what stands for a review: the outcome that its status corresponds to."""
    if is_blurred:
        return Outcome.BLUR
    return _STANDING.get(Review.Status(status), Outcome.PERSON)


def _name_kind(standing: Standing | None) -> str:
    if standing is None:
        return "none"
    return "blind" if standing.is_blind else "influenced"


def _join(*words: str) -> str:
    return _SEPARATOR.join(words)
