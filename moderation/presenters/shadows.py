"""Context of the page of a shadow: where a version differs from the policy in force."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Sum
from django.urls import reverse
from django.utils import timezone

from moderation.models import Policy, PolicyShadow, Review
from moderation.models.policy_trials import OUTCOMES
from moderation.presenters.charts import Series, Size, StackedBars, Step, TimeAxis, Tone
from moderation.presenters.policies import build_head
from moderation.presenters.trials import Cell, build_matrix, is_hidden, name_change
from moderation.services.policy_snapshots import is_same
from moderation.services.trial_counts import name_cell

if TYPE_CHECKING:
    from django.contrib.auth.models import User

NAMES = dict(OUTCOMES)
HOURS = 48  # of the plot
SHOWN = 24  # images


def build_page(policy: Policy, user: User, change: str = "") -> dict[str, Any]:
    """Build the context of a version's last shadow; ``change`` limits its images."""
    shadow = policy.shadows.select_related("started_by").order_by("-pk").first()
    context = {
        **build_head(policy, user, "Shadow"),
        "shadow": shadow,
        "is_running": shadow is not None and shadow.ended_at is None,
    }
    if shadow is None:
        return context
    rows = shadow.counts.values_list("old", "new").annotate(images=Sum("images"))
    counts = {(old, new): images for old, new, images in rows}
    total = sum(counts.values())
    differing = sum(images for (old, new), images in counts.items() if old != new)
    chosen = next((pair for pair in counts if "-".join(pair) == change), None)
    address = reverse("moderation:policy-shadow", args=[policy.version])
    return {
        **context,
        "has_changed": not is_same(shadow.snapshot, policy),
        "total": total,
        "differing": differing,
        "percent": 100 * differing / total if total else None,
        "matrix": build_matrix(
            f"Policy in force against version {policy.version}",
            slug="shadow-matrix",
            names=("In force", f"Version {policy.version}"),
            cells=[
                Cell(
                    old=old,
                    new=new,
                    images=(images := counts.get((old, new), 0)),
                    url=f"{address}?change={old}-{new}#differing" if images and old != new else "",
                )
                for old in NAMES
                for new in NAMES
            ],
        ),
        "figure": _build_figure(shadow),
        "change": name_change(name_cell("policy", *chosen)) if chosen else "",
        "all_url": f"{address}#differing",
        "results": _list_results(shadow, user, chosen),
    }


def _build_figure(shadow: PolicyShadow) -> StackedBars:
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    starts = [now - timedelta(hours=hours) for hours in reversed(range(HOURS))]
    same: Counter[Any] = Counter()
    differing: Counter[Any] = Counter()
    for row in shadow.counts.filter(hour__gte=starts[0]):
        (same if row.old == row.new else differing)[row.hour] += row.images
    return StackedBars(
        name="shadow",
        title=f"Settled images of the last {HOURS} hours",
        summary=(
            f"{differing.total():,} images with another outcome and {same.total():,} with the same."
        ),
        size=Size.WIDE,
        axis=TimeAxis(starts=starts, step=Step.HOUR),
        series=[
            Series("Another outcome", [differing[hour] for hour in starts]),
            Series("The same", [same[hour] for hour in starts], tone=Tone.MUTED),
        ],
    )


def _list_results(
    shadow: PolicyShadow, user: User, change: tuple[str, str] | None
) -> list[dict[str, Any]]:
    """Return the newest images with another outcome that this person may see."""
    found_rows = shadow.results.order_by("-created_at", "-pk")
    if change:
        found_rows = found_rows.filter(old=change[0], new=change[1])
    rows = list(found_rows[: 4 * SHOWN])
    reviews = (
        Review.objects.select_related("asset")
        .defer("classification_summary", "reason")
        .in_bulk([row.review_id for row in rows])
    )
    found = [
        {
            "review": reviews[row.review_id],
            "name": name_change(name_cell("policy", row.old, row.new)),
        }
        for row in rows
        if not is_hidden(reviews[row.review_id], user)
    ]
    return found[:SHOWN]
