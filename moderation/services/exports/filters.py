"""Filter the rows of the exports and of the record."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Any, TypeVar

from django.core.exceptions import NON_FIELD_ERRORS
from django.db.models import OuterRef, QuerySet, Subquery
from django.forms import Form

from moderation import taxonomy
from moderation.models import Decision, NamedCategory, Review, Verdict
from moderation.models.decisions import DecisionQuerySet
from moderation.models.reviews import ReviewQuerySet

# Filters that apply to one decision.
DECISION_FILTERS = ("verdict", "delivered", "category", "reviewer", "by")
ASSET_IDS_MAX = 1000  # maximum number of asset ids in a query
UNDECIDED = "undecided"
BLURRED = "blurred"
Rows = TypeVar("Rows", bound=QuerySet[Any])


def filter_decisions(filters: dict[str, Any]) -> DecisionQuerySet:
    """Return decisions that match the cleaned data of ``DecisionFilterForm``.

    Absent and empty filters match everything.
    """
    rows = _filter_by_day(Decision.objects.all(), filters)
    if verdict := filters.get("verdict"):
        rows = rows.filter(verdict=verdict)
    if delivered := filters.get("delivered"):
        rows = rows.filter(verdict=Verdict.APPROVE, is_blurred=delivered == BLURRED)
    if category := filters.get("category"):
        rows = _filter_by_category(rows, category)
    if reviewer := filters.get("reviewer"):
        rows = rows.filter(reviewer_name=reviewer)
    if by := filters.get("by"):
        rows = rows.filter(by_policy=by == "policy")
    return rows


def filter_images(filters: dict[str, Any]) -> ReviewQuerySet:
    """Return reviews that match the cleaned data of ``ImageExportForm``.

    The days are those of the arrival. The other filters of the record apply to the decision in
    effect.
    """
    rows = _filter_by_day(Review.objects.all(), filters)
    status = filters.get("status")
    if status == UNDECIDED:
        rows = rows.filter(decided_at__isnull=True)
    elif status:
        rows = rows.with_status(Review.Status(status))
    about = {name: filters.get(name) for name in DECISION_FILTERS}
    if not any(about.values()):
        return rows
    in_effect = deciding().filter(review=OuterRef("pk")).order_by("-sequence").values("pk")[:1]
    return rows.alias(in_effect=Subquery(in_effect)).filter(
        in_effect__in=filter_decisions(about).values("pk")
    )


def deciding() -> DecisionQuerySet:
    """Return decisions that can be the one in effect of their image.

    While two opinions differ, none is.
    """
    return Decision.objects.effective().exclude(
        review__status=Review.Status.ESCALATED,
        review__second_opinion=Review.SecondOpinion.DISAGREED,
    )


def _filter_by_day(rows: Rows, filters: dict[str, Any]) -> Rows:
    start, end = filters.get("start"), filters.get("end")
    if start:
        rows = rows.filter(created_at__gte=datetime.combine(start, time.min, tzinfo=UTC))
    if end:
        rows = rows.filter(created_at__lte=datetime.combine(end, time.max, tzinfo=UTC))
    return rows


def _filter_by_category(rows: DecisionQuerySet, category: str) -> DecisionQuerySet:
    """Return decisions that name a category; an L1 category includes its L2 categories."""
    slugs = [category, *(child.slug for child in taxonomy.list_children(category))]
    named = NamedCategory.objects.filter(category__in=slugs).values_list("asset_id", flat=True)
    few = list(named[: ASSET_IDS_MAX + 1])
    if len(few) <= ASSET_IDS_MAX:
        # Narrow by index first: the text search below would read the whole record for a few rows.
        rows = rows.filter(review__asset__in=few)
    # Stored as a JSON list of slugs: a slug starts after a quote, and an L2 continues with a dot.
    exact = rows.filter(categories__icontains=f'"{category}"')
    return exact | rows.filter(categories__icontains=f'"{category}.') if len(slugs) > 1 else exact


def describe_errors(form: Form, *, prefix: str = "") -> str:
    """Return the errors of a filter form as one line."""
    return "; ".join(
        (
            " ".join(map(str, errors))
            if name == NON_FIELD_ERRORS
            else f"{prefix}{name}: {' '.join(map(str, errors))}"
        )
        for name, errors in form.errors.items()
    )
