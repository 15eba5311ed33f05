"""Counts of a trial: what two policies do with the same images, against people's decisions.

The counts are JSON, so that a trial can pause at any image and go on in another process.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from moderation.models import Review
from moderation.policy_engine import Outcome
from moderation.services.trial_evidence import Image, Judge, Judged, Standing

OUTCOMES: Final = (Outcome.APPROVE, Outcome.BLUR, Outcome.PERSON, Outcome.REJECT)
KEPT: Final = 500  # images of a cell that are kept, drawn at random
SECONDS_MAX: Final = Decimal(3600)
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
        """Count images by what both policies do with them."""
        asked = sorted(
            {rule.classifier for one in (baseline, candidate) for rule in one.policy.ask_rules}
        )
        for image in images:
            old = baseline.settle(image.key, image.uuid)
            new = candidate.settle(image.key, image.uuid)
            stands = find_standing_outcome(image.status, is_blurred=image.is_blurred)
            self.images += 1
            self.cells[_join(old.outcome, stands, new.outcome)] += 1
            self._note_changes(image, old, new, stands)
            for second in image.seconds:
                self.seconds[f"{min(second, SECONDS_MAX):.1f}"] += 1
            if image.standing is not None:
                self._count_truth("baseline", old, image.standing)
                self._count_truth("candidate", new, image.standing)
            if asked:
                self._count_asks(asked, image, old, new)

    def _note_changes(self, image: Image, old: Judged, new: Judged, stands: Outcome) -> None:
        if new.outcome is not old.outcome:
            self._keep(name_cell("policy", old.outcome, new.outcome), image.pk)
            self.changed[_name_kind(image.standing)] += 1
            if image.standing is not None:
                self.verdicts[_join(old.outcome, new.outcome, image.standing.outcome)] += 1
        if new.outcome is not stands:
            self._keep(name_cell("record", stands, new.outcome), image.pk)
        if new.is_near:
            cell = NEAR_APPROVALS if new.outcome is Outcome.APPROVE else NEAR_REJECTIONS
            self.near[cell] += 1
            self._keep(cell, image.pk)

    def _keep(self, cell: str, pk: int) -> None:
        heap = self._kept.setdefault(cell, [])
        item = (-find_place(pk), pk)
        if len(heap) < KEPT:
            heapq.heappush(heap, item)
        elif item > heap[0]:
            heapq.heapreplace(heap, item)

    def _count_truth(self, policy: str, judged: Judged, standing: Standing) -> None:
        kinds = ("all", "blind") if standing.is_blind else ("all",)
        for kind in kinds:
            if judged.outcome in (Outcome.APPROVE, Outcome.BLUR):
                self._count_approval(_join(policy, "approvals", kind), judged, standing)
            elif judged.outcome is Outcome.REJECT:
                is_wrong = standing.outcome is not Outcome.REJECT
                for slug in (ANY, *judged.rejected_for):
                    self._count_pair(_join(policy, "rejections", kind), slug, is_wrong=is_wrong)

    def _count_approval(self, place: str, judged: Judged, standing: Standing) -> None:
        """Count an approval as wrong for the categories that a person saw and it lets through."""
        is_wrong = standing.outcome is Outcome.REJECT or (
            standing.outcome is Outcome.BLUR and judged.outcome is Outcome.APPROVE
        )
        self._count_pair(place, ANY, is_wrong=is_wrong)
        truth = standing.truth
        for slug in truth.absent:
            self._count_pair(place, slug, is_wrong=False)
        for slug in truth.shown:
            if "." not in slug:
                self._count_pair(place, slug, is_wrong=is_wrong)

    def _count_pair(self, place: str, slug: str, *, is_wrong: bool) -> None:
        self.truth[_join(place, slug, "all")] += 1
        if is_wrong:
            self.truth[_join(place, slug, "wrong")] += 1

    def _count_asks(self, slugs: list[str], image: Image, old: Judged, new: Judged) -> None:
        """Count the images with a result of a classifier that both policies, or one, ask."""
        present = {run.classifier for run in image.key.runs}
        for slug in slugs:
            if slug in present:
                self.asks[_join(slug, "images")] += 1
                self.asks[_join(slug, "baseline")] += slug not in old.not_asked
                self.asks[_join(slug, "candidate")] += slug not in new.not_asked


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
