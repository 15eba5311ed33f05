"""Embed assets with the encoder in use.

Every new asset gets a row. The job ``classify`` embeds an image along with its local
classification, because it has already been decoded there. The job ``embed`` does the rest: images
without a local classification, retries, and those that ``manage.py embed`` has queued. A failure
never delays a review.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from django.db.models import Exists, Max, OuterRef, QuerySet
from django.utils import timezone

from generation import jobs
from generation.core.db.prepared.query import PreparedQuery, insert
from generation.models import Asset
from generation.services import storage_checks
from moderation import classifiers
from moderation.classifiers import encoders
from moderation.classifiers.base import ClassifierError, ImageUnavailableError
from moderation.classifiers.picture import Picture, PictureClassifier
from moderation.models import Embedding
from moderation.models.embeddings import EmbeddingQuerySet

log = logging.getLogger("loupe.embeddings")
MAX_ATTEMPTS = 3
RETRY_AFTER = timedelta(seconds=20)
# An image is usually embedded along with its classification before this.
PATIENCE = timedelta(minutes=1)
CHUNK = 1000


def queue(*, asset: Asset) -> None:
    """Queue a new asset. Must run in the transaction that stores the asset."""
    encoder = encoders.get_active()
    if encoder is None:
        return
    is_embedded_along = any(
        isinstance(classifier, PictureClassifier) and classifier.applies_to(asset)
        for classifier in classifiers.active()
    )
    wait = PATIENCE if is_embedded_along else timedelta(0)
    insert(Embedding(asset=asset, encoder_version=encoder.version, due_at=timezone.now() + wait))
    if not is_embedded_along:
        jobs.wake("embed")


def find_queued(*, after: QuerySet[Any]) -> EmbeddingQuerySet:
    """Return the queued rows, or none as long as there are rows in ``after``."""
    return Embedding.objects.filter(~Exists(after), due_at__isnull=False)


_QUEUED = PreparedQuery(
    lambda asset, encoder_version: Embedding.objects.filter(
        asset=asset, encoder_version=encoder_version, due_at__isnull=False
    ),
    asset=int,
    encoder_version=str,
)


def embed_along(*, asset: Asset, picture: Picture) -> None:
    """Embed an asset that is being classified, if it is queued."""
    encoder = encoders.get_active()
    if encoder is None:
        return
    row = _QUEUED.row(asset=asset.pk, encoder_version=encoder.version)
    if row is not None:
        embed(row, picture)


def embed(row: Embedding, picture: Picture) -> None:
    """Store the vector of an asset, or why there is none."""
    if row.attempts > MAX_ATTEMPTS:
        _give_up(row, "The encoder crashed its worker several times on this image.")
        return
    encoder = encoders.get_active()
    if encoder is None or encoder.version != row.encoder_version:
        _give_up(row, "This encoder is not in use any more.")
        return
    try:
        vector = encoders.encode(encoder, picture)
    except ClassifierError as error:
        _handle_error(row, error)
        return
    _queued(row).update(
        vector=encoders.pack(vector), finished_at=timezone.now(), due_at=None, error=""
    )


def _handle_error(row: Embedding, error: ClassifierError) -> None:
    """Retry later if that may help, else give up."""
    if isinstance(error, ImageUnavailableError):
        later = timezone.now() + storage_checks.RETRY_AFTER
        _queued(row).update(due_at=later, error=str(error), attempts=0)
    elif error.retryable and row.attempts < MAX_ATTEMPTS:
        _queued(row).update(due_at=timezone.now() + RETRY_AFTER, error=str(error))
    else:
        _give_up(row, str(error))


def _give_up(row: Embedding, message: str) -> None:
    log.warning("asset %s was not embedded: %s", row.asset_id, message)
    _queued(row).update(due_at=None, error=message)


def _queued(row: Embedding) -> QuerySet[Embedding]:
    """Return the row, unless it has been embedded in the meantime."""
    return Embedding.objects.filter(pk=row.pk, vector__isnull=True)


def queue_missing(encoder: encoders.Encoder) -> int:
    """Queue the assets that this encoder has not embedded, failed ones too.

    Returns their number. Writes in chunks, so that other writers need not wait.
    """
    now = timezone.now()
    of_encoder = Embedding.objects.filter(encoder_version=encoder.version)
    queued = of_encoder.filter(vector__isnull=True, due_at__isnull=True).update(
        due_at=now, attempts=0, error=""
    )
    last = Asset.objects.aggregate(last=Max("pk"))["last"] or 0
    for start in range(0, last + 1, CHUNK):
        lacking = Asset.objects.with_files().filter(
            ~Exists(of_encoder.filter(asset=OuterRef("pk"))), pk__gt=start, pk__lte=start + CHUNK
        )
        rows = [
            Embedding(asset_id=asset, encoder_version=encoder.version, due_at=now)
            for asset in lacking.values_list("pk", flat=True)
        ]
        # An asset that was stored at this moment has its row already.
        Embedding.objects.bulk_create(rows, ignore_conflicts=True)
        queued += len(rows)
    if queued:
        jobs.wake("embed")
    return queued
