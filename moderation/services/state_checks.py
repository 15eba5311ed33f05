"""Checks of what follows from the decisions: states of images, deliverable files, categories."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

from django.db import transaction
from django.db.models import Max

from generation.core.storage import StorageUnavailableError, asset_name, original_file_name
from generation.models import Asset
from generation.services.file_checks import check_files
from moderation import taxonomy
from moderation.models import (
    Classification,
    Decision,
    NamedCategory,
    Review,
    Verdict,
    Verification,
    chain,
)
from moderation.models.classification_summary import deserialize
from moderation.models.decisions import (
    STATUS_AFTER,
    is_blurred_after,
    is_for_lead_after,
    keep_effective,
    status_after,
)
from moderation.services.chain_checks import UNREADABLE

STEP = 5_000  # reviews
FILES_STEP = 100  # images
SAMPLE: Final = 200  # images
UNDECIDED: Final = (Review.Status.CLASSIFYING, Review.Status.PENDING)
REVIEW_FIELDS: Final = (
    *("pk", "uuid", "asset_id", "status", "is_blurred", "for_lead", "decided_by_id"),
    *("asset__sha256", "asset__image_type", "asset__rendition"),
    *("asset__original_sha256", "asset__original_type", "asset__original"),
)
CATEGORIES: Final = tuple(
    category.slug for l1, children in taxonomy.iter_tree() for category in (l1, *children)
)


@dataclass(slots=True, kw_only=True)
class ReplayedDecision:
    """The columns of a decision on which the state of its image depends."""

    pk: int
    review_id: int
    verdict: str
    is_blurred: bool
    reviewer_id: int | None
    reverses_id: int | None
    second_of_id: int | None
    categories: list[str]
    second_of: ReplayedDecision | None = None

    @property
    def disagrees(self) -> bool:
        first = self.second_of
        return first is not None and (first.verdict, first.is_blurred) != (
            self.verdict,
            self.is_blurred,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedState:
    """The state of an image after its decisions."""

    status: str
    is_blurred: bool
    decided_by: int | None
    for_lead: bool | None  # None: depends on who could settle a disagreement at that time


# --- States ---
def iter_faults() -> Iterator[str]:
    """Check all images."""
    check, has_more = Verification(decisions=0), True
    while has_more:
        faults, has_more = read_step(check)
        yield from faults


def read_step(verification: Verification) -> tuple[list[str], bool]:
    """Check the next images and move on; return the faults, and whether there were any images."""
    rows = Review.objects.filter(pk__gt=verification.position).order_by("pk")
    keys = list(rows.values_list("pk", flat=True)[:STEP])
    if not keys:
        return [], False
    faults = []
    for review in _find_suspects(keys):
        # Again under its lock: somebody may have decided it meanwhile.
        with transaction.atomic():
            list(Review.objects.filter(pk=review).select_for_update().values_list("pk"))
            for _, found in _find_faults([review]):
                faults += found
    verification.position = keys[-1]
    verification.reviews += len(keys)
    return faults, True


def _find_suspects(keys: list[int]) -> list[int]:
    try:
        return [key for key, _ in _find_faults(range(keys[0], keys[-1] + 1))]
    except UNREADABLE:
        return keys  # one of them; each is read alone


def _find_faults(keys: range | list[int]) -> list[tuple[int, list[str]]]:
    """Return the faults of the images of reviews, by review, for those that have any."""
    try:
        reviews = list(
            Review.objects.filter(pk__gte=keys[0], pk__lte=keys[-1])
            .order_by("pk")
            .values_list(*REVIEW_FIELDS)
        )
        decisions = _read_decisions(keys[0], keys[-1])
        named = _read_named([row[2] for row in reviews])
        found = [
            (row[0], _check_review(row, decisions.get(row[0], []), named.get(row[2], set())))
            for row in reviews
        ]
    except UNREADABLE:
        if len(keys) > 1:
            raise
        return [(keys[0], [f"The image of review {keys[0]} was altered: it cannot be read."])]
    return [(key, faults) for key, faults in found if faults]


def _read_decisions(first: int, last: int) -> dict[int, list[ReplayedDecision]]:
    """Return the decisions of reviews in order, by review."""
    rows = (
        Decision.objects.filter(review__gte=first, review__lte=last)
        .order_by("review", "sequence")
        .values_list(
            *("pk", "review_id", "verdict", "is_blurred", "reviewer_id", "reverses_id"),
            *("second_of_id", "categories"),
        )
    )
    found: dict[int, list[ReplayedDecision]] = defaultdict(list)
    for pk, review, verdict, is_blurred, reviewer, reverses, second_of, categories in rows:
        found[review].append(
            ReplayedDecision(
                pk=pk,
                review_id=review,
                verdict=verdict,
                is_blurred=is_blurred,
                reviewer_id=reviewer,
                reverses_id=reverses,
                second_of_id=second_of,
                categories=categories,
            )
        )
    return found


def _read_named(assets: list[int]) -> dict[int, set[str]]:
    """Return the named categories of assets, as they are indexed."""
    if not assets:
        return {}
    rows = NamedCategory.objects.filter(
        category__in=CATEGORIES, asset_id__gte=min(assets), asset_id__lte=max(assets)
    )
    found: dict[int, set[str]] = defaultdict(set)
    for category, asset in rows.values_list("category", "asset_id"):
        found[asset].add(category)
    return found


def _check_review(
    row: tuple[Any, ...], decisions: list[ReplayedDecision], named: set[str]
) -> list[str]:
    _, uuid, _, status, is_blurred, for_lead, decided_by, *files = row
    faults = []
    state = replay(decisions)
    # An image is classified before its first decision only.
    if status not in ((state.status,) if decisions else UNDECIDED):
        faults.append(f"Image {uuid} is {status}, but its decisions say {state.status}.")
    elif (is_blurred, decided_by) != (state.is_blurred, state.decided_by) or (
        state.for_lead is not None and for_lead != state.for_lead
    ):
        faults.append(f"The state of image {uuid} is not that of its decisions.")
    if not _names_own_files(*files):
        faults.append(f"Image {uuid} names a file that is not its own.")
    if named != {slug for row in decisions for slug in row.categories}:
        faults.append(f"The indexed categories of image {uuid} are not those of its decisions.")
    return faults


def replay(decisions: list[ReplayedDecision]) -> ReplayedState:
    """Return the state of an image after its decisions, given in order."""
    if len(decisions) == 1 and decisions[0].second_of_id is None:
        return _replay_one(decisions[0])
    by_key = {row.pk: row for row in decisions}
    for row in decisions:
        row.second_of = by_key.get(row.second_of_id) if row.second_of_id is not None else None
    # They have all that these functions read.
    effective = keep_effective(cast("list[Decision]", decisions))
    status = status_after(effective)
    firsts = [row for row in effective if row.second_of_id is None]
    is_disputed = bool(effective) and effective[-1].second_of_id is not None
    return ReplayedState(
        status=status,
        is_blurred=is_blurred_after(effective),
        decided_by=firsts[-1].reviewer_id if status in Review.DECIDED else None,
        for_lead=None
        if is_disputed and status == Review.Status.ESCALATED
        else is_for_lead_after(effective),
    )


def _replay_one(row: ReplayedDecision) -> ReplayedState:
    status = STATUS_AFTER[Verdict(row.verdict)]
    return ReplayedState(
        status=status,
        is_blurred=row.is_blurred and status == Review.Status.APPROVED,
        decided_by=row.reviewer_id if status in Review.DECIDED else None,
        for_lead=False,
    )


def _names_own_files(
    sha256: str,
    image_type: str,
    rendition: str,
    original_sha256: str,
    original_type: str,
    original: str,
) -> bool:
    """Return whether the files that are handed out are named by the hashes of the image."""
    if rendition and rendition != asset_name(sha256, image_type):
        return False
    return not original or original == original_file_name(original_sha256, original_type)


# --- Files, and the results of classifiers ---
def draw_sample() -> list[int]:
    """Return the primary keys of a random sample of images."""
    last = Asset.objects.aggregate(last=Max("pk"))["last"] or 0
    if last <= SAMPLE:
        return list(Asset.objects.values_list("pk", flat=True))
    drawn = set()
    for key in random.SystemRandom().sample(range(1, last + 1), SAMPLE):
        drawn.add(Asset.objects.filter(pk__gte=key).values_list("pk", flat=True).first())
    return sorted(key for key in drawn if key is not None)


def list_next_assets(verification: Verification) -> list[int]:
    rows = Asset.objects.filter(pk__gt=verification.position).order_by("pk")
    return list(rows.values_list("pk", flat=True)[:FILES_STEP])


def check_images(verification: Verification, keys: Collection[int]) -> list[str]:
    """Compare the files of images with their hashes, and their evidence with the decisions."""
    faults: list[str] = []
    for asset in Asset.objects.with_files().filter(pk__in=list(keys)):
        try:
            found = check_files([asset])
        except (OSError, StorageUnavailableError) as error:
            faults.append(f"The files of image {asset.uuid} cannot be read: {error}")
            continue
        verification.files += found.checked
        faults += [f"The file {name} is missing." for name in found.missing]
        faults += [f"The file {name} was altered." for name in found.altered]
    for review in Review.objects.filter(asset__in=list(keys)).values_list("pk", flat=True):
        try:
            faults += _check_evidence(review)
        except UNREADABLE:
            faults.append(f"The classifiers' results of review {review} cannot be read.")
    return faults


def _check_evidence(key: int) -> list[str]:
    """Compare the classifiers' results with those that the last decision was based on."""
    review = Review.objects.only("uuid", "asset_id", "classification_summary").get(pk=key)
    last = Decision.objects.filter(review=review, version=chain.SIGNED).newest_first().first()
    if last is None:
        return []
    runs = Classification.objects.current_for_asset(review.asset_id)
    if any(_is_newer(run, last) for run in runs):
        return []  # classified again since then, which changes no decision
    message = f"The classifiers' results of image {review.uuid} were changed after its decision."
    if chain.hash_evidence(review.classification_summary) != last.evidence:
        return [message]
    if review.classification_summary is None:
        return []
    stored = {run.classifier: _simplify_run(run) for run in runs}
    is_same = all(
        stored.get(run.classifier)
        == (
            run.flagged,
            run.score,
            sorted((part.category, part.confidence or -1) for part in run.parts),
        )
        for run in deserialize(review.classification_summary)
        if run.status == Classification.Status.DONE
    )
    return [] if is_same else [message]


def _is_newer(run: Classification, decision: Decision) -> bool:
    return run.finished_at is None or run.finished_at > decision.created_at


def _simplify_run(run: Classification) -> tuple[Any, ...]:
    labels: Iterable[Any] = run.labels.all()
    return (
        run.flagged,
        run.score,
        sorted((label.category, label.confidence or -1) for label in labels),
    )
