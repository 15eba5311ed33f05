"""The columns of the exports: header, field path and kind of each."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db.models import (
    BooleanField,
    Case,
    ExpressionWrapper,
    F,
    OuterRef,
    Q,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce

from moderation.models import PolicyActivation, Review
from moderation.models.retention import is_held
from moderation.models.reviews import NO_FINDINGS, WITHOUT_CATEGORY


class Column(NamedTuple):
    """A column that the main query reads.

    Kinds: text (untrusted), slugs (stored JSON list), names (the same as display names), finding
    (slug or one of our phrases, as a display name), code (trusted, unchanged), number, float, uuid,
    timestamp, one, two and six (decimal places), flag (yes or no), found (bits of L1 categories),
    lines (list of untrusted texts), object (JSON), runs and loras (JSON of a fixed form).
    """

    header: str
    path: str
    kind: str


class LookupColumn(NamedTuple):
    """A column that is looked up for each batch of rows. Kinds as for ``Column``."""

    header: str
    kind: str


DECISION_COLUMNS = (
    Column("sequence", "sequence", "number"),
    Column("decision", "uuid", "uuid"),
    Column("decided_at", "created_at", "timestamp"),
    Column("verdict", "verdict", "code"),
    Column("blurred", "is_blurred", "flag"),
    Column("categories", "categories", "slugs"),
    Column("category_names", "categories", "names"),
    Column("note", "note", "text"),
    Column("reviewer", "reviewer_name", "text"),
    Column("by_policy", "by_policy", "flag"),
    Column("policy_version", "policy__version", "number"),
    Column("policy_in_force", "in_force", "number"),
    Column("seconds", "seconds", "one"),
    Column("batch", "batch", "uuid"),
    Column("second_opinion_on", "second_of__uuid", "uuid"),
    Column("reverses", "reverses__uuid", "uuid"),
    Column("reversed_by", "reversed_by__uuid", "uuid"),
    Column("asset", "review__asset__uuid", "uuid"),
    Column("asset_sha256", "review__asset__sha256", "code"),
    Column("original_sha256", "review__asset__original_sha256", "code"),
    Column("original_type", "review__asset__original_type", "code"),
    Column("original_bytes", "review__asset__original_size", "number"),
    Column("source", "review__asset__source", "code"),
    Column("file_name", "review__asset__original_name", "text"),
    Column("headline", "review__top_category", "text"),
    Column("finding", "finding", "finding"),
    Column("headline_confidence", "review__top_confidence", "two"),
    Column("risk", "review__risk", "number"),
    Column("why", "review__reason", "text"),
    Column("request", "review__asset__request__uuid", "uuid"),
    Column("provider", "review__asset__request__provider", "text"),
    Column("model", "review__asset__request__model_name", "text"),
    Column("seed", "seed", "number"),
    Column("prompt", "review__asset__request__prompt", "text"),
    Column("negative_prompt", "review__asset__request__negative_prompt", "text"),
    Column("end_user", "review__asset__end_user", "text"),
    Column("removed_at", "review__asset__purged_at", "timestamp"),
    Column("removal_reason", "review__asset__purge_reason", "text"),
    Column("legal_hold", "on_hold", "flag"),
    Column("hash", "hash", "code"),
)
IMAGE_COLUMNS = (
    Column("asset", "asset__uuid", "uuid"),
    Column("asset_sha256", "asset__sha256", "code"),
    Column("original_sha256", "asset__original_sha256", "code"),
    Column("original_type", "asset__original_type", "code"),
    Column("original_bytes", "asset__original_size", "number"),
    Column("arrived_at", "created_at", "timestamp"),
    Column("source", "asset__source", "code"),
    Column("file_name", "asset__original_name", "text"),
    Column("status", "status", "code"),
    Column("blurred", "is_blurred", "flag"),
    Column("second_opinion", "second_opinion", "code"),
    Column("headline", "top_category", "text"),
    Column("finding", "finding", "finding"),
    Column("headline_confidence", "top_confidence", "two"),
    Column("risk", "risk", "number"),
    Column("found", "found", "found"),
    Column("why", "reason", "text"),
    Column("policy_version", "policy__version", "number"),
    Column("request", "asset__request__uuid", "uuid"),
    Column("provider", "asset__request__provider", "text"),
    Column("model", "asset__request__model_name", "text"),
    Column("seed", "seed", "number"),
    Column("prompt", "asset__request__prompt", "text"),
    Column("negative_prompt", "asset__request__negative_prompt", "text"),
    Column("end_user", "asset__end_user", "text"),
    Column("removed_at", "asset__purged_at", "timestamp"),
    Column("removal_reason", "asset__purge_reason", "text"),
    Column("legal_hold", "on_hold", "flag"),
)
# Field path from the review.
EVIDENCE_COLUMNS = (
    Column("requested_by", "requested_by__username", "text"),
    Column("api_key", "asset__api_key__name", "text"),
    Column("width", "asset__width", "number"),
    Column("height", "asset__height", "number"),
    Column("bytes", "asset__size", "number"),
    Column("image_type", "asset__image_type", "code"),
)


def below(path: str, columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """Return columns with this path before their own."""
    return tuple(column._replace(path=path + column.path) for column in columns)


def build_seed(path: str) -> Coalesce:
    """Return the image's own seed if the provider reports it: siblings share their request's.

    ``path`` leads to the review.
    """
    return Coalesce(f"{path}asset__seed", f"{path}asset__request__seed")


def build_hold(path: str) -> ExpressionWrapper[Any]:
    """Return whether a legal hold in effect covers the image. ``path`` leads to the review."""
    return ExpressionWrapper(is_held(f"{path}asset__"), output_field=BooleanField())


def build_finding(path: str) -> Case:
    """Return the same as ``Review.top_category_name``, but with the slug if there is one.

    ``path`` leads to the review.
    """
    return Case(
        When(~Q(**{f"{path}top_category": ""}), then=F(f"{path}top_category")),
        When(**{f"{path}top_confidence__isnull": False}, then=Value("NSFW score")),
        When(**{f"{path}status": Review.Status.CLASSIFYING}, then=Value("Not checked yet")),
        *(
            When(**{f"{path}risk": risk}, then=Value(words))
            for risk, words in WITHOUT_CATEGORY.items()
        ),
        default=Value(NO_FINDINGS),
    )


# For decisions older than the column, look up the activation at that time.
IN_FORCE = Coalesce(
    "policy_in_force__version",
    Subquery(
        PolicyActivation.objects.filter(created_at__lte=OuterRef("created_at"))
        .order_by("-created_at", "-pk")
        .values("policy__version")[:1]
    ),
)
