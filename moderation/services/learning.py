"""Train heads on people's decisions, and move them from shadow to advisory to active.

The job ``train`` trains each category once a day if there are new decisions. A new head is a shadow
head. Only a person with the permission promotes it, and only if it fulfils the conditions.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from moderation import taxonomy
from moderation.classifiers import encoders
from moderation.classifiers.base import ClassifierError
from moderation.classifiers.zero_shot import ZeroShotChangedError
from moderation.judgement import heads
from moderation.judgement.heads import Condition, Origin, Training, train_head
from moderation.models import Head, HeadChange, HeadTraining
from moderation.models.heads import HeadTrainingQuerySet
from moderation.services import rescoring
from moderation.services.training_data import (
    LabelSet,
    Recipe,
    build_examples,
    build_recipe,
    collect_labels,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import User

log = logging.getLogger("loupe.learning")
INTERVAL: Final = timedelta(days=1)
LEASE: Final = timedelta(minutes=5)
MAX_ATTEMPTS: Final = 3
LEARNED: Final = "learned"  # the classifier's slug
Status = Head.Status
# Conditions of each step. An active head needs all.
ADVISORY_CONDITIONS: Final = {
    Condition.POSITIVES,
    Condition.GROUPS,
    Condition.TRAINABLE,
    Condition.LOG_LOSS,
}
UNMEASURED: Final = "unmeasured"  # the condition that an imported head does not fulfil
NEXT: Final = {Status.SHADOW: Status.ADVISORY, Status.ADVISORY: Status.ACTIVE}


class LearningError(Exception):
    """Something that cannot be done with heads. ``str(error)`` is a message for people."""


# --- Training ---
def get_encoder() -> encoders.Encoder:
    """Return the encoder in use. Raises LearningError without one."""
    encoder = encoders.get_active()
    if encoder is None:
        raise LearningError("No encoder is in use, so there is nothing to learn from (ENCODER).")
    return encoder


def build_current_recipe(**limits: Any) -> Recipe:
    """Return the recipe for the record as it is now. Raises LearningError."""
    try:
        return build_recipe(
            get_encoder(), target_precision=float(settings.HEAD_PRECISION) / 100, **limits
        )
    except ClassifierError as error:
        raise LearningError(str(error)) from error


def train(labels: LabelSet, category: str) -> Training:
    """Train a head for one category without storing it. Raises LearningError."""
    recipe = labels.recipe
    origin = Origin(
        category=category,
        encoder_version=recipe.encoder_version,
        zero_shot_version=recipe.zero_shot_version,
        created_from=f"decisions up to {recipe.until_sequence}",
    )
    try:
        examples = build_examples(labels, category)
        return train_head(examples, origin, target_precision=recipe.target_precision)
    except (ClassifierError, ZeroShotChangedError, ValueError) as error:
        raise LearningError(str(error)) from error


@transaction.atomic
def store(training: Training, recipe: Recipe, *, user: User | None) -> Head | None:
    """Store a trained head as the shadow head of its category, in place of the last one.

    Returns the head in use instead if that was trained on the same decisions, and None without a
    head.
    """
    if training.head is None:
        return None
    head, stored = training.head, recipe.to_json()
    rows = Head.objects.in_use(recipe.encoder_version, recipe.zero_shot_version)
    for row in rows.select_for_update().filter(
        category=head.origin.category, training_sha256=head.training_sha256
    ):
        if row.recipe.get("target_precision") == stored["target_precision"]:
            return row
    failures = [
        {"condition": str(failure.condition), "reason": failure.reason}
        for failure in training.failures
    ]
    return _create(head, recipe=stored, failures=failures, user=user)


def _create(
    head: heads.Head, *, recipe: dict[str, Any], failures: list[dict[str, str]], user: User | None
) -> Head:
    """Create a shadow head and retire the last one. Must run in a transaction."""
    before = Head.objects.select_for_update().filter(
        category=head.origin.category,
        encoder_version=head.origin.encoder_version,
        status=Status.SHADOW,
    )
    for row in before:
        _move(row, Status.RETIRED, user=user, note="A newer head was trained.")
    return Head.objects.create(
        category=head.origin.category,
        encoder_version=head.origin.encoder_version,
        zero_shot_version=head.origin.zero_shot_version,
        artefact=head.to_json(),
        sha256=head.sha256,
        training_sha256=head.training_sha256,
        recipe=recipe,
        failures=failures,
        images=head.figures.images,
        positives=head.figures.positives,
        created_by=user,
    )


def rebuild(row: Head) -> heads.Head:
    """Train a head again from the record; raise LearningError if the bytes differ."""
    if "until_sequence" not in row.recipe:
        raise LearningError(f"{row} was not trained on this record.")
    try:
        recipe = Recipe.from_json(row.recipe)
    except ValueError as error:
        raise LearningError(str(error)) from error
    training = train(collect_labels(recipe), row.category)
    if training.head is None or training.head.sha256 != row.sha256:
        raise LearningError(
            f"{row} could not be rebuilt byte for byte: the record or the embeddings have changed,"
            " or another version of NumPy computes differently."
        )
    return training.head


# --- The job ---
def add_trainings() -> None:
    """Create missing rows of the schedule when a worker starts."""
    now = timezone.now()
    HeadTraining.objects.bulk_create(
        [HeadTraining(category=slug, due_at=now) for slug in taxonomy.CATEGORIES],
        ignore_conflicts=True,
    )


def find_due() -> HeadTrainingQuerySet:
    """Return the trainings that are due, or none if heads are not in use."""
    rows = HeadTraining.objects.due()
    return rows if LEARNED in settings.CLASSIFIERS and settings.ENCODER else rows.none()


def run_due(*, go_on: Callable[[], bool]) -> None:
    """Train the categories that are due, one after another, all on the same labels."""
    labels: LabelSet | None = None
    while go_on():
        claimed = HeadTraining.objects.claim(limit=1, lease=LEASE, count_attempt=True)
        if not claimed:
            return
        row = claimed[0]
        held = HeadTraining.objects.filter(pk=row.pk, lease=row.lease)
        later = {"due_at": timezone.now() + INTERVAL, "attempts": 0}
        if row.attempts > MAX_ATTEMPTS:
            held.update(**later, result="The training crashed its worker several times.")
            continue
        try:
            labels = labels or collect_labels(build_current_recipe())
            _train_due(row, labels, held, later)
        except LearningError as error:
            held.update(**later, result=str(error))


def _train_due(
    row: HeadTraining, labels: LabelSet, held: HeadTrainingQuerySet, later: dict[str, Any]
) -> None:
    recipe = labels.recipe
    made_for = f"{recipe.encoder_version} {recipe.zero_shot_version}".strip()
    if (row.sequence, row.made_for) == (recipe.until_sequence, made_for):
        held.update(**later)
        return
    training = train(labels, row.category)
    store(training, recipe, user=None)
    held.update(
        **later,
        sequence=recipe.until_sequence,
        made_for=made_for,
        finished_at=timezone.now(),
        result=" ".join(failure.reason for failure in training.failures),
    )


# --- Steps ---
def list_obstacles(row: Head) -> list[str]:
    """Return what keeps a head from its next step, in words."""
    if row.status not in NEXT:
        return ["It is the last step." if row.status == Status.ACTIVE else "It is retired."]
    needed = {str(condition) for condition in ADVISORY_CONDITIONS} | {UNMEASURED}
    target = float(settings.HEAD_PRECISION) / 100
    obstacles = [
        failure["reason"]
        for failure in row.failures
        if row.status == Status.ADVISORY or failure["condition"] in needed
    ]
    measured = float(row.recipe.get("target_precision", 0))
    if row.status == Status.ADVISORY and measured < target:
        obstacles.append(
            f"It was measured for a precision of {measured:.0%}, and {target:.0%} is the aim now"
            " (HEAD_PRECISION)."
        )
    return obstacles


@transaction.atomic
def promote(*, head: Head, user: User, note: str = "", may_reject: bool = False) -> Head:
    """Move a head one step up, in place of the head that holds this step. Raises LearningError."""
    _require_permission(user)
    row = Head.objects.select_for_update().get(pk=head.pk)
    obstacles = list_obstacles(row)
    if obstacles:
        raise LearningError(f"{row} cannot be promoted. {' '.join(obstacles)}")
    target = NEXT[Status(row.status)]
    if may_reject and target != Status.ACTIVE:
        raise LearningError("Only an active head may reject.")
    row.load()  # broken bytes are never put into use
    holders = Head.objects.select_for_update().filter(
        category=row.category, encoder_version=row.encoder_version, status=target
    )
    for holder in holders:
        _move(holder, Status.RETIRED, user=user, note=f"Replaced by head {row.pk}.")
    _move(row, target, user=user, note=note, may_reject=may_reject)
    rescoring.request()
    return row


@transaction.atomic
def retire(*, head: Head, user: User, note: str = "") -> Head:
    """Take a head out of use for good. Raises LearningError."""
    _require_permission(user)
    row = Head.objects.select_for_update().get(pk=head.pk)
    if row.status == Status.RETIRED:
        raise LearningError(f"{row} is retired already.")
    was_deciding = row.status != Status.SHADOW
    _move(row, Status.RETIRED, user=user, note=note)
    if was_deciding:
        rescoring.request()
    return row


def _require_permission(user: User) -> None:
    if not user.has_perm("moderation.promote_head"):
        raise LearningError(f"{user} may not promote or retire heads.")


def _move(
    row: Head, status: Head.Status, *, user: User | None, note: str, may_reject: bool = False
) -> None:
    before = row.status
    kept = row.may_reject if status == Status.RETIRED else may_reject
    row.move_to(status, only_from=before, may_reject=kept)
    HeadChange.objects.create(
        head=row, before=before, after=status, may_reject=kept, note=note, author=user
    )


# --- Files ---
@dataclass(frozen=True, slots=True)
class Imported:
    """An imported head, and whether this record leads to the same bytes."""

    head: Head
    is_rebuilt: bool


def export(row: Head) -> str:
    """Return a head as JSON, with the recipe and the conditions that it does not fulfil."""
    row.load()
    content = {"artefact": row.artefact, "recipe": row.recipe, "failures": row.failures}
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def import_file(text: str, *, user: User) -> Imported:
    """Store the head of ``export`` as a shadow head. Raises LearningError.

    It keeps its measured conditions only if this record leads to the same bytes. Any other head was
    measured elsewhere, and cannot be promoted here.
    """
    _require_permission(user)
    try:
        content = json.loads(text)
        head = heads.Head.from_json(content["artefact"])
        recipe = Recipe.from_json(content["recipe"])
    except (ValueError, KeyError, TypeError) as error:
        raise LearningError(f"This is not an exported head: {error}") from error
    if head.origin.category not in taxonomy.CATEGORIES:
        raise LearningError(f"There is no category {head.origin.category}.")
    failures = _measure_again(head, recipe)
    reason = "It was not measured on this house's decisions."
    with transaction.atomic():
        row = _create(
            head,
            recipe=recipe.to_json() if failures is not None else {},
            failures=[{"condition": UNMEASURED, "reason": reason}]
            if failures is None
            else failures,
            user=user,
        )
    return Imported(row, failures is not None)


def _measure_again(head: heads.Head, recipe: Recipe) -> list[dict[str, str]] | None:
    """Return the failed conditions if this record leads to the same bytes, else None."""
    try:
        training = train(collect_labels(recipe), head.origin.category)
    except LearningError:
        return None
    if training.head is None or training.head.sha256 != head.sha256:
        return None
    return [
        {"condition": str(failure.condition), "reason": failure.reason}
        for failure in training.failures
    ]


def describe_failures(failures: Iterable[heads.Failure]) -> str:
    return " ".join(failure.reason for failure in failures)
