"""Context of the pages about golden images: the list, the team's results, one's own results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from generation.core.db import keyset
from moderation.models import GoldenImage, Review
from moderation.presenters.charts import IntervalDots, IntervalRow
from moderation.presenters.charts.formats import format_share
from moderation.presenters.team import list_tabs
from moderation.services import golden_images

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SHOWN = 50


def build_list(user: User, *, before: int | None) -> dict[str, Any]:
    """Build one page of golden images, newest first, and the team's results."""
    rows = GoldenImage.objects.select_related("review__asset", "marked_by", "retired_by")
    if before is not None:
        rows = keyset.rows_after(rows, ("-pk",), (before,))
    found, has_older = keyset.read_page(rows.order_by("-pk"), SHOWN)
    pks = [row.pk for row in found]
    known = set(
        GoldenImage.objects.with_known_answer().filter(pk__in=pks).values_list("pk", flat=True)
    )
    results = golden_images.measure_team()
    return {
        "tabs": list_tabs(user, "Golden images"),
        "rows": [(row, _describe_state(row, row.pk in known)) for row in found],
        "older": found[-1].pk if has_older else None,
        "is_first": before is None,
        "figure": _draw(results),
        "hidden": [result.name for result in results if result.share is None and result.answers],
        "people_min": golden_images.PEOPLE_MIN,
        "may_retire": user.has_perm(golden_images.RETIRE),
    }


def _describe_state(row: GoldenImage, is_known: bool) -> tuple[str, str]:
    """Return a tone and the state in words."""
    if row.retired_at is not None:
        return "cancelled", "Retired"
    if not is_known:
        return "failed", "Decided anew: not given"
    return "succeeded", "In use"


def _draw(results: list[golden_images.GroupResult]) -> IntervalDots | None:
    rows = [
        IntervalRow(
            label=result.name,
            value=result.share.value,
            low=result.share.low,
            high=result.share.high,
            n=result.share.n,
        )
        for result in results
        if result.share is not None and result.share.is_known
    ]
    if not rows:
        return None
    first = rows[0]
    return IntervalDots(
        name="golden-agreement",
        title="Agreement with the known answer",
        summary=f"{first.label}: {format_share(first.value or 0)} of {first.n} answers agree.",
        rows=rows,
        high=1.0,
    )


def build_own_results(user: User) -> dict[str, Any]:
    """Build a person's own results, for that person only."""
    own = golden_images.load_own_results(user)
    share = own.share
    interval = ""
    if share.value is not None and share.low is not None and share.high is not None:
        interval = f"{format_share(share.low)} to {format_share(share.high)}"
    return {
        "own": own,
        "share": "–" if share.value is None else format_share(share.value),
        "interval": interval,
    }


def build_marking(review: Review, user: User) -> dict[str, Any]:
    """Build the context of the page that makes a settled image golden."""
    known = golden_images.find_known_decision(review) if review.is_decided else None
    return {
        "review": review,
        "asset": review.asset,
        "known": known,
        "refusal": golden_images.explain_refusal(review, user),
        "current": GoldenImage.objects.in_use().filter(review=review).first(),
    }
