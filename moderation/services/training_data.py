"""Training examples of heads: what people's standing decisions say about each category.

A query over the record as it was at one sequence number, so the same examples can be built again
later. An approval by a person says "no" to every category that the policy in force watched. A
rejection says "yes" to its reasons and nothing about other categories. No labels are: decisions of
the policy, escalations, reversed decisions, disagreements of second opinions, and approvals to be
delivered blurred.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.db.models import Max
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from moderation import taxonomy
from moderation.classifiers import encoders, zero_shot
from moderation.judgement.heads import Example
from moderation.models import Decision, Embedding, Policy, PolicyActivation, Verdict
from moderation.models.decisions import keep_effective

# Images with the newest decisions of people, of all categories.
WINDOW = 10_000
# Of one category. More would not fit into the time of a job: it grows with the cube of the number.
POSITIVES_MAX = 500
NEGATIVES_MAX = 1_000
CHUNK = 500  # SQLite accepts about 1,000 values in a statement
# Rows of embeddings become visible in another order than that of ``finished_at``.
SETTLED = timedelta(minutes=1)
_USED = (Verdict.APPROVE, Verdict.REJECT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The part of the record that heads are trained on, and their target."""

    encoder_version: str
    zero_shot_version: str
    until_sequence: int  # the record up to this decision
    embedded_until: datetime
    target_precision: float
    since: datetime | None = None  # only decisions from then on
    until: datetime | None = None  # only decisions before then
    excluded: tuple[int, ...] = ()  # accounts whose decisions are left out

    def to_json(self) -> dict[str, Any]:
        times = {"embedded_until": self.embedded_until, "since": self.since, "until": self.until}
        return {
            "encoder_version": self.encoder_version,
            "zero_shot_version": self.zero_shot_version,
            "until_sequence": self.until_sequence,
            "target_precision": self.target_precision,
            "excluded": list(self.excluded),
            **{name: at.isoformat() if at else None for name, at in times.items()},
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Recipe:
        """Return the recipe of ``to_json``. Raises ValueError for anything else."""
        try:
            embedded_until = _parse_time(stored["embedded_until"])
            if embedded_until is None:
                raise ValueError("The recipe has no time.")
            return cls(
                encoder_version=str(stored["encoder_version"]),
                zero_shot_version=str(stored["zero_shot_version"]),
                until_sequence=int(stored["until_sequence"]),
                embedded_until=embedded_until,
                target_precision=float(stored["target_precision"]),
                since=_parse_time(stored["since"]),
                until=_parse_time(stored["until"]),
                excluded=tuple(int(pk) for pk in stored["excluded"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"This is not a recipe: {type(error).__name__} {error}") from error


def _parse_time(text: str | None) -> datetime | None:
    return None if text is None else parse_datetime(text)


def build_recipe(encoder: encoders.Encoder, *, target_precision: float, **limits: Any) -> Recipe:
    """Return the recipe for the whole record as it is now."""
    newest = Decision.objects.aggregate(newest=Max("sequence"))["newest"] or 0
    return Recipe(
        encoder_version=encoder.version,
        zero_shot_version=zero_shot.find(encoder).version,
        until_sequence=newest,
        embedded_until=timezone.now() - SETTLED,
        target_precision=target_precision,
        **limits,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLabel:
    """People's decision on one image."""

    asset_id: int
    uuid: str  # of the asset
    person: str
    request: str
    look: str
    positives: frozenset[str]
    negatives: frozenset[str]
    weight: float = 1.0  # 1 / probability of its audit, for images that the policy settled


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The labels of a recipe, newest first; read once for all categories."""

    recipe: Recipe
    labels: tuple[ImageLabel, ...]
    categories: frozenset[str] = field(default_factory=frozenset)  # with a positive


def collect_labels(recipe: Recipe) -> LabelSet:
    """Read the standing decisions of the recipe."""
    watched = _Watched()
    labels: list[ImageLabel] = []
    reviews = _list_reviews(recipe)
    for start in range(0, len(reviews), CHUNK):
        found = _read_decisions(reviews[start : start + CHUNK], recipe)
        for pk in reviews[start : start + CHUNK]:
            label = _build_label(found[pk], recipe, watched)
            if label is not None:
                labels.append(label)
    named = frozenset(slug for label in labels for slug in label.positives)
    return LabelSet(recipe, tuple(labels), named)


def _list_reviews(recipe: Recipe) -> list[int]:
    """Return the reviews of the newest decisions of people, newest first."""
    rows = Decision.objects.filter(
        sequence__lte=recipe.until_sequence, by_policy=False, verdict__in=_USED
    )
    if recipe.since:
        rows = rows.filter(created_at__gte=recipe.since)
    if recipe.until:
        rows = rows.filter(created_at__lt=recipe.until)
    if recipe.excluded:
        rows = rows.exclude(reviewer__in=recipe.excluded)
    newest = rows.order_by("-sequence").values_list("review", flat=True)[:WINDOW]
    return list(dict.fromkeys(newest))


def _read_decisions(reviews: Sequence[int], recipe: Recipe) -> dict[int, list[Decision]]:
    rows = Decision.objects.filter(review__in=reviews, sequence__lte=recipe.until_sequence)
    found: dict[int, list[Decision]] = defaultdict(list)
    for row in rows.select_related("review__asset", "second_of", "audit").order_by("sequence"):
        found[row.review_id].append(row)
    return found


def _build_label(
    decisions: Sequence[Decision], recipe: Recipe, watched: _Watched
) -> ImageLabel | None:
    """Return what the decisions on one image say; None if that is nothing."""
    effective = keep_effective(decisions)
    standing = _find_standing(effective)
    used = [row for row in standing if _is_used(row, recipe)]
    if not used or any(row.is_blurred or row.verdict not in _USED for row in used):
        return None
    first = used[0]
    reasons = [slug for row in used for slug in row.categories if slug in taxonomy.CATEGORIES]
    is_rejected = first.verdict == Verdict.REJECT
    asset = first.review.asset
    return ImageLabel(
        asset_id=asset.pk,
        uuid=str(asset.uuid),
        person=str(first.reviewer_id),
        request=str(asset.request_id or ""),
        # The first image of a group gets its number later, which is its own.
        look=str(first.review.near_duplicate_group or asset.pk),
        positives=frozenset(_add_l1(reasons)) if is_rejected else frozenset(),
        negatives=frozenset() if is_rejected else watched.find(first),
        weight=_find_weight(effective),
    )


def _find_weight(effective: Iterable[Decision]) -> float:
    """Return how many images one stands for: people saw it only because an audit drew it."""
    audits = [row.audit for row in effective if row.by_policy and hasattr(row, "audit")]
    return 1 / float(audits[-1].probability) if audits else 1.0


def _find_standing(effective: Iterable[Decision]) -> list[Decision]:
    """Return the last decision and the second opinions that agree; [] if one disagrees."""
    standing: list[Decision] = []
    for row in effective:
        if row.second_of_id is None:
            standing = [row]
        elif row.disagrees:
            standing = []
        else:
            standing.append(row)
    return standing


def _is_used(row: Decision, recipe: Recipe) -> bool:
    return (
        not row.by_policy
        and row.reviewer_id not in recipe.excluded
        and (recipe.since is None or row.created_at >= recipe.since)
        and (recipe.until is None or row.created_at < recipe.until)
    )


def _add_l1(slugs: Iterable[str]) -> Iterator[str]:
    for slug in slugs:
        yield slug
        yield taxonomy.get(slug).l1


class _Watched:
    """The categories that policies watch, by the decisions made under them."""

    def __init__(self) -> None:
        self._by_policy: dict[int, frozenset[str]] = {}
        # Older decisions do not name the policy in force.
        self._activations = list(
            PolicyActivation.objects.order_by("created_at", "pk").values_list(
                "created_at", "policy"
            )
        )

    def find(self, decision: Decision) -> frozenset[str]:
        pk = decision.policy_in_force_id or self._find_in_force(decision.created_at)
        if pk is None:
            return frozenset()
        if pk not in self._by_policy:
            rules = Policy.objects.get(pk=pk).rules.values_list("category", flat=True)
            self._by_policy[pk] = list_watched(rules)
        return self._by_policy[pk]

    def _find_in_force(self, at: datetime) -> int | None:
        place = bisect_right(self._activations, at, key=lambda row: row[0])
        return self._activations[place - 1][1] if place else None


def list_watched(rules: Iterable[str]) -> frozenset[str]:
    """Return the categories that rules of these categories watch.

    A rule of an L1 watches its L2s. An L1 without a rule is watched if all its L2s are.
    """
    own = set(rules)
    found = set()
    for l1, children in taxonomy.iter_tree():
        seen = {child.slug for child in children if l1.slug in own or child.slug in own}
        found |= seen
        if l1.slug in own or (children and len(seen) == len(children)):
            found.add(l1.slug)
    return frozenset(found)


def build_examples(labels: LabelSet, category: str) -> list[Example]:
    """Return the examples of one category: images with a label and an embedding."""
    recipe = labels.recipe
    positives = [label for label in labels.labels if category in label.positives]
    negatives = [label for label in labels.labels if category in label.negatives]
    kept_positives, positive_weight = _draw(positives, POSITIVES_MAX)
    kept_negatives, negative_weight = _draw(negatives, NEGATIVES_MAX)
    kept = [*kept_positives, *kept_negatives]
    vectors = _read_vectors([label.asset_id for label in kept], recipe)
    kept = [label for label in kept if label.asset_id in vectors]
    if not kept:
        return []
    logits = zero_shot.get_for(recipe.encoder_version, recipe.zero_shot_version).compute(
        np.stack([vectors[label.asset_id] for label in kept]), category
    )
    return [
        Example(
            id=label.uuid,
            vector=vectors[label.asset_id],
            zero_shot=float(logit),
            is_positive=category in label.positives,
            person=label.person,
            request=label.request,
            look=label.look,
            weight=label.weight
            * (positive_weight if category in label.positives else negative_weight),
        )
        for label, logit in zip(kept, logits, strict=True)
    ]


def _draw(labels: list[ImageLabel], limit: int) -> tuple[list[ImageLabel], float]:
    """Return at most ``limit`` labels, drawn by their hash, and how many each stands for."""
    if len(labels) <= limit:
        return labels, 1.0
    drawn = sorted(labels, key=lambda label: hashlib.sha256(label.uuid.encode()).digest())[:limit]
    return drawn, len(labels) / limit


def _read_vectors(assets: Sequence[int], recipe: Recipe) -> dict[int, encoders.Vector]:
    found: dict[int, encoders.Vector] = {}
    rows = Embedding.objects.filter(
        encoder_version=recipe.encoder_version,
        vector__isnull=False,
        finished_at__lte=recipe.embedded_until,
    )
    for start in range(0, len(assets), CHUNK):
        chunk = rows.filter(asset__in=assets[start : start + CHUNK])
        found |= {
            asset: encoders.unpack(vector)
            for asset, vector in chunk.values_list("asset_id", "vector")
        }
    return found
