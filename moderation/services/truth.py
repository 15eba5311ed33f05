"""People's decisions on images, as far as they count as the truth."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from moderation import taxonomy
from moderation.models import Decision, PolicyRule, Verdict
from moderation.models.decisions import keep_effective


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The categories that an image has and has not; all others are unknown."""

    shown: frozenset[str] = frozenset()  # slugs, with the L1 category of each
    absent: frozenset[str] = frozenset()  # L1 slugs: neither they nor their second levels

    def shows(self, slug: str) -> bool | None:
        """Return whether the image shows a category; None if that is not known."""
        if slug in self.shown:
            return True
        return False if taxonomy.get(slug).l1 in self.absent else None


UNKNOWN = Truth()


def find_standing(decisions: Iterable[Decision]) -> Decision | None:
    """Return the person's decision that counts as the truth about one review, or None.

    ``decisions`` are all of that review, oldest first, with ``second_of``. Reversed decisions,
    escalations and second opinions that differ from a person's decision are no truth. The answer to
    an audit is: only one person has judged the image.
    """
    effective = keep_effective(decisions)
    first = next((row for row in reversed(effective) if row.second_of_id is None), None)
    if first is None:
        return None
    opinion = next((row for row in effective if row.second_of_id == first.pk), None)
    standing = opinion if first.by_policy else first
    if opinion is not None and opinion.disagrees and not first.by_policy:
        return None
    if standing is None or standing.verdict == Verdict.ESCALATE:
        return None
    return standing


def read_truth(decision: Decision | None, watched: Mapping[int, Collection[str]]) -> Truth:
    """Return what a standing decision says about its image.

    A rejection says only that the named categories are there: a person stops at the first reason.
    An approval says that no category is there that the policy in force watched (``watched``: L1
    slugs by policy). An approval to be delivered blurred names what is there, and nothing else.
    """
    if decision is None:
        return UNKNOWN
    if decision.verdict == Verdict.APPROVE and not decision.is_blurred:
        policy = decision.policy_in_force_id or decision.policy_id or 0
        return Truth(absent=frozenset(watched.get(policy, ())))
    known = [slug for slug in decision.categories if slug in taxonomy.CATEGORIES]
    return Truth(shown=frozenset(known) | {taxonomy.get(slug).l1 for slug in known})


def map_watched() -> dict[int, set[str]]:
    """Return the L1 categories that each policy watches, by the policy's key."""
    found: dict[int, set[str]] = {}
    for policy, slug in PolicyRule.objects.values_list("policy", "category"):
        found.setdefault(policy, set()).add(taxonomy.get(slug).l1)
    return found


def map_decisions(reviews: Collection[int]) -> dict[int, Sequence[Decision]]:
    """Return all decisions of reviews by review, oldest first."""
    rows = Decision.objects.filter(review__in=reviews).select_related("second_of")
    found: dict[int, list[Decision]] = {pk: [] for pk in reviews}
    for row in rows.order_by("sequence"):
        found[row.review_id].append(row)
    return dict(found)
