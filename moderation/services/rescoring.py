"""Apply new heads to stored embeddings, without reading an image.

Only waiting images get new classifications, and the policy settles them again: their order and
reason change. All other images are only counted, so that a policy lead sees what a head would do.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from generation import jobs
from moderation.classifiers import encoders, learned, zero_shot
from moderation.classifiers.base import Assessment, ClassifierError
from moderation.models import (
    Classification,
    Embedding,
    Head,
    HeadRescoring,
    Label,
    Resettlement,
    Review,
)
from moderation.search import likeness
from moderation.services import classification

BATCH = 200  # waiting images in one transaction
LEASE = timedelta(seconds=60)
TOP = 20


def request() -> None:
    """Have the job apply the heads in use to all waiting images, from the first one."""
    HeadRescoring.objects.update_or_create(
        pk=1, defaults={"due_at": timezone.now(), "position": 0, "attempts": 0, "lease": None}
    )
    jobs.wake("rescore")


def run_due(*, go_on: Callable[[], bool]) -> None:
    """Apply the heads in use to waiting images, in order of their ids."""
    claimed = HeadRescoring.objects.claim(limit=1, lease=LEASE)
    if not claimed:
        return
    row = claimed[0]
    if learned.Learned.slug not in settings.CLASSIFIERS:
        HeadRescoring.objects.filter(pk=row.pk, lease=row.lease).update(due_at=None)
        return
    held = HeadRescoring.objects.filter(pk=row.pk, lease=row.lease)
    while go_on():
        with transaction.atomic():
            last = _rescore_batch(row.position)
            if last is None:
                held.update(due_at=None, finished_at=timezone.now())
                return
            row.position = last
            if not held.update(position=last, due_at=timezone.now() + LEASE):
                return  # requested again meanwhile
    held.update(due_at=timezone.now())


def _rescore_batch(after: int) -> int | None:
    """Apply the heads to the next waiting reviews; return the last one, None if none is left."""
    waiting = Review.objects.filter(
        status=Review.Status.PENDING, decided_at__isnull=True, pk__gt=after
    )
    reviews = list(waiting.order_by("pk").values_list("pk", "asset_id")[:BATCH])
    if not reviews:
        return None
    _rescore([asset for _, asset in reviews])
    now = timezone.now()
    Resettlement.objects.bulk_create(
        [Resettlement(review_id=pk, due_at=now) for pk, _ in reviews], ignore_conflicts=True
    )
    jobs.wake("resettle")
    return reviews[-1][0]


def _rescore(assets: Sequence[int]) -> None:
    """Store the results of the heads on these assets, as the classifier does."""
    rows = learned.list_in_use()
    version = learned.build_version(rows)
    if not rows:
        _withdraw(assets, version)
        return
    stored = dict(
        Embedding.objects.filter(
            asset__in=assets, encoder_version=rows[0].encoder_version, vector__isnull=False
        ).values_list("asset_id", "vector")
    )
    if not stored:
        return
    vectors = np.stack([encoders.unpack(vector) for vector in stored.values()])
    assessments = learned.judge(learned.load(rows), vectors)
    for asset, assessment in zip(stored, assessments, strict=True):
        _store(asset, version, assessment)


def _withdraw(assets: Sequence[int], version: str) -> None:
    """Replace earlier results by one that is no evidence: no head is in use any more."""
    judged = Classification.objects.filter(asset__in=assets, classifier=learned.Learned.slug)
    for asset in judged.order_by("asset").values_list("asset", flat=True).distinct():
        _store(asset, version, Assessment(raw={"no_evidence": "No head is in use."}))


def _store(asset: int, version: str, assessment: Assessment) -> None:
    run, is_new = Classification.objects.get_or_create(
        asset_id=asset,
        classifier=learned.Learned.slug,
        version=version,
        defaults={
            "status": Classification.Status.DONE,
            "flagged": assessment.flagged,
            "covers": dict(assessment.covers),
            "raw": assessment.raw,
            "finished_at": timezone.now(),
        },
    )
    if not is_new:
        return
    labels = [
        Label(classification=run, category=found.category, confidence=found.confidence)
        for found in assessment.findings
    ]
    Label.objects.bulk_create(labels)
    classification.add_found_categories(Review.objects.get(asset=asset), labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryScores:
    """Result of a head on all embedded images."""

    images: int
    flagged: int  # at or above its threshold
    top: list[tuple[float, int]]  # probability and asset, the highest first


def score_library(row: Head, *, top: int = TOP) -> LibraryScores:
    """Apply one head to all embeddings of its encoder, blockwise, without storing anything.

    Raises ClassifierError.
    """
    encoder = encoders.get_active()
    if encoder is None or encoder.version != row.encoder_version:
        raise ClassifierError("The head was made for another encoder than the one in use.")
    try:
        start = zero_shot.get_for(row.encoder_version, row.zero_shot_version)
    except zero_shot.ZeroShotChangedError as error:
        raise ClassifierError(str(error)) from error
    [used] = learned.load([row])
    images = flagged = 0
    best: list[tuple[float, int]] = []
    for assets, vectors in likeness.iter_blocks(encoder):
        scores = used.head.score(vectors, start.compute(vectors, row.category))
        images += len(scores)
        flagged += int((scores >= used.head.figures.threshold).sum())
        places = np.argsort(-scores, kind="stable")[:top]
        found = [(float(scores[place]), int(assets[place])) for place in places]
        best = heapq.nlargest(top, [*best, *found])
    return LibraryScores(images=images, flagged=flagged, top=best)
