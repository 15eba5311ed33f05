"""Starting policies: one for each line-up of classifiers.

Each states in one sentence what it settles by itself and what it leaves to people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction

from moderation import taxonomy
from moderation.models import Policy
from moderation.policy_engine import Thresholds
from moderation.services import policies

if TYPE_CHECKING:
    from django.contrib.auth.models import User

# The confidences of the first policy (migration 0003), from which a person reviews.
_REVIEW_AT = {
    "explicit": 20,
    "non-explicit": 30,
    "swimwear-underwear": 50,
    "violence": 30,
    "visually-disturbing": 30,
    "drugs-tobacco": 40,
    "alcohol": 50,
    "rude-gestures": 40,
    "gambling": 50,
    "hate-symbols": 20,
}
_REJECT_AT = 95
# The settings of every starting policy that does not state another value. A new setting of policies
# needs its value here, so that no starting policy approves more than its summary says.
DEFAULTS: Mapping[str, Any] = {
    "nsfw_level": Policy.Level.EXPLICIT,
    "nsfw_review_at": Decimal(20),
    "nsfw_reject_at": None,
    "may_approve": True,
    "approves_imports": False,
    "trusted_silences": [],
    "accepted_unchecked": [],
    "requires_full_coverage": False,
    "reuses_approvals": False,
    "trusts_allow_lists": False,
    "delivers_rendition": False,
}


def _build_rules(*rejected: str) -> dict[str, Thresholds]:
    """Return rules for all ten categories; the second levels of ``rejected`` may be rejected."""
    rules = {
        slug: Thresholds(review_at=Decimal(limit), reject_at=None)
        for slug, limit in _REVIEW_AT.items()
    }
    for l1 in rejected:
        for child in taxonomy.list_children(l1):
            limits = Thresholds(review_at=rules[l1].review_at, reject_at=Decimal(_REJECT_AT))
            rules[child.slug] = limits
    return rules


@dataclass(frozen=True, slots=True, kw_only=True)
class StartingPolicy:
    """A policy for a line-up of classifiers."""

    slug: str
    name: str
    summary: str
    rules: Mapping[str, Thresholds] = field(default_factory=_build_rules)
    fields: Mapping[str, Any] = field(default_factory=dict)


STARTING_POLICIES = {
    policy.slug: policy
    for policy in (
        StartingPolicy(
            slug="novita",
            name="Novita only",
            summary=(
                "Settles nothing by itself, because Novita gives one number without a category and"
                " checks at most four of the ten categories: every image goes to a person, those"
                " with a score of 20 or more first."
            ),
        ),
        StartingPolicy(
            slug="novita-nanogpt",
            name="Novita and nano-gpt",
            summary=(
                "Settles nothing by itself, because neither service names a category and neither"
                " checks violence, drugs or gambling: every image goes to a person, those that"
                " nano-gpt flags or Novita scores with 20 or more first."
            ),
        ),
        StartingPolicy(
            slug="rekognition",
            name="Rekognition",
            summary=(
                "Rejects explicit content and hate symbols that Rekognition or another classifier"
                " names from 95 on, approves generated images in which Rekognition finds nothing"
                " and covers all ten categories fully, and leaves all else to people, including"
                " drawings and imported files."
            ),
            rules=_build_rules("explicit", "hate-symbols"),
            fields={"requires_full_coverage": True},
        ),
        StartingPolicy(
            slug="vlm",
            name="Vision model",
            summary=(
                "Settles nothing by itself, because a model's numbers are not calibrated and what"
                " it misses is not measured: every image goes to a person, those with"
                " findings first."
            ),
        ),
        StartingPolicy(
            slug="local",
            name="Local classifiers only",
            summary=(
                "Rejects explicit nudity that the local detector names from 95 on, and leaves all"
                " else to people, because open_nsfw names no category that can reject, and nothing"
                " checks violence, hate symbols and five other categories."
            ),
            rules=_build_rules("explicit"),
        ),
    )
}


def suggest() -> StartingPolicy | None:
    """Return the starting policy for the configured classifiers; None if none fits."""
    active = set(settings.CLASSIFIERS)
    # Without its key, Novita generates no images that it could classify.
    if "novita" not in settings.IMAGE_PROVIDERS:
        active.discard("novita")
    for slug, needed in (
        ("rekognition", {"rekognition"}),
        ("vlm", {"vlm"}),
        ("vlm", {"vision"}),
        ("novita-nanogpt", {"novita", "nanogpt"}),
        ("novita", {"novita"}),
        ("local", {"local"}),
        ("local", {"opennsfw"}),
    ):
        if needed <= active:
            return STARTING_POLICIES[slug]
    return None


def create(chosen: StartingPolicy, *, user: User | None) -> Policy:
    """Create a new, inactive policy version. It shares nothing with the policy in force."""
    return policies.create(
        user=user,
        rules=chosen.rules,
        name=chosen.name,
        note="A starting policy. Its thresholds are initial values, not validated on your images.",
        summary=chosen.summary,
        **{**DEFAULTS, **chosen.fields},
    )


@transaction.atomic
def put_into_force(chosen: StartingPolicy, *, user: User | None) -> Policy:
    return policies.activate(policy=create(chosen, user=user), user=user).policy
