"""Changes of the counts of decided and rejected images between two places of the record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from moderation.models import Decision, Review
from moderation.models.decisions import keep_effective, status_after

# Change in the number of decided and of rejected images; negative after a reversal.
Move = tuple[int, int]


def compute_moves(batch: Sequence[Decision], *, before: int) -> dict[int, Move]:
    """Return by review how the batch changed its "decided" and "rejected" counts.

    Compares the record before and after the batch: reversals, second opinions and their reversals
    need no special cases.
    """
    rows = Decision.objects.filter(
        review__in={row.review_id for row in batch}, sequence__lte=batch[-1].sequence
    )
    lean = rows.select_related("second_of").only(
        *("review", "verdict", "is_blurred", "reverses", "sequence"),
        *("second_of__verdict", "second_of__is_blurred"),
    )
    of_review: dict[int, list[Decision]] = defaultdict(list)
    for row in lean.order_by("sequence"):
        of_review[row.review_id].append(row)
    moves = {}
    for primary_key, decisions in of_review.items():
        old = status_after(keep_effective(row for row in decisions if row.sequence <= before))
        new = status_after(keep_effective(decisions))
        moves[primary_key] = (
            (new in Review.DECIDED) - (old in Review.DECIDED),
            (new == Review.Status.REJECTED) - (old == Review.Status.REJECTED),
        )
    return {primary_key: move for primary_key, move in moves.items() if move != (0, 0)}
